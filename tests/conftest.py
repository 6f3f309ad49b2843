"""What every test can ask for, and what happens when the machine cannot give it."""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.needs import NEEDS
from tests.proofs.page import record
from tests.proofs.sizes import Size, size_by
from tests.proofs.tally import TALLY, Tally
from tests.settings import SQLITE_FILE, TEST_DATABASE

UNMET = pytest.StashKey[Counter[str]]()
SIZE = pytest.StashKey[Size]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a soak does beside testing."""
    text = "write the table of guarantees into docs/reliability.md"
    parser.addoption("--record-proofs", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Start counting: the tests that could not run, and the trials of those that prove."""
    config.stash[UNMET] = Counter()
    config.stash[TALLY] = Tally()
    size = config.stash[SIZE] = size_by()
    # Processes that share the tests are of one turn, also when they start at the end of one.
    os.environ.setdefault("FLUXIO_PROOFS_TURN", str(size.turn))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell what was counted to the process that shares the tests out, if there is one."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["unmet"] = dict(session.config.stash[UNMET])
        output["tally"] = session.config.stash[TALLY].told()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add up what the processes of pytest-xdist have counted."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[UNMET].update(output.get("unmet", {}))
    for count in output.get("tally", ()):
        node.config.stash[TALLY].add(*count)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which sample the proofs try, so that it can be tried again."""
    size = config.stash[SIZE]
    return f"proofs: {size}, FLUXIO_PROOFS_TURN={size.turn}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what counts trials, and leave the soak tests out unless the command line wants them."""
    for item in items:
        if "tally" in getattr(item, "fixturenames", ()):
            item.add_marker("proof")
    if "soak" in config.option.markexpr:
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=soak)
    items[:] = [item for item in items if not item.get_closest_marker("soak")]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose needs are not met. With ``CI=true`` it fails: nothing may hide there."""
    for need in (NEEDS[mark.name] for mark in item.iter_markers() if mark.name in NEEDS):
        if problem := need.problem():
            item.config.stash[UNMET][need.marker] += 1
            reason = f"{need.marker} cannot be used: {problem}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how much was not tested, and why, and of each guarantee how often it was broken."""
    for marker, count in config.stash[UNMET].items():
        terminalreporter.write_line(
            f"{marker}: {count} not run, {NEEDS[marker].problem()}", yellow=True
        )
    tally = config.stash[TALLY]
    if tally.counts:
        terminalreporter.section("guarantees")
        for line in tally.text():
            terminalreporter.write_line(line)
    if config.getoption("--record-proofs"):
        record(tally.lines(), config.stash[SIZE], datetime.now(UTC).date())


def pytest_unconfigure() -> None:
    """Remove what a killed process left beside the SQLite file."""
    for leftover in Path(SQLITE_FILE).parent.glob(f"{TEST_DATABASE}.*"):
        leftover.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Nothing: the databases of each process have a name of its own from the start."""


@pytest.fixture(scope="session", autouse=True)
def _quickly_emptied() -> Iterator[None]:
    from tests.emptying import quickly_emptied  # Django has to be set up

    with quickly_emptied():
        yield


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """Counts trials and violations for the table at the end."""
    return pytestconfig.stash[TALLY]


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> Size:
    """How much a proof tries."""
    return pytestconfig.stash[SIZE]


def _real_transactions(alias: str) -> pytest.MarkDecorator:
    return pytest.mark.django_db(transaction=True, databases=[alias])


@pytest.fixture(
    params=[
        pytest.param("default", marks=_real_transactions("default")),
        pytest.param("postgres", marks=[_real_transactions("postgres"), pytest.mark.postgresql]),
        pytest.param("mariadb", marks=[_real_transactions("mariadb"), pytest.mark.mariadb]),
    ]
)
def database(request: pytest.FixtureRequest) -> str:
    """Run the test once per relational database, with real transactions, and give its alias."""
    alias: str = request.param
    return alias
