"""Every supported pair of Python and Django; `nox --list` shows them, `nox -s tests` runs them."""

import shutil

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types"]

PAIRS = [
    nox.param("3.11", "5.2", id="py3.11-django5.2"),
    nox.param("3.12", "5.2", id="py3.12-django5.2"),
    nox.param("3.12", "6.0", id="py3.12-django6.0"),
    nox.param("3.12", "6.1", id="py3.12-django6.1"),
    nox.param("3.13", "5.2", id="py3.13-django5.2"),
    nox.param("3.13", "6.0", id="py3.13-django6.0"),
    nox.param("3.13", "6.1", id="py3.13-django6.1"),
]


def install(session: nox.Session, group: str, *requirements: str) -> None:
    """Install the project with one dependency group; groups need a recent pip."""
    session.install("pip>=25.1")
    session.install("--editable", ".", "--group", group, *requirements)


@nox.session
@nox.parametrize(["python", "django"], PAIRS)
def tests(session: nox.Session, django: str) -> None:
    """Run the tests; arguments after `--` go to pytest."""
    install(session, "dev", f"Django~={django}.0")
    if shutil.which("mariadb_config"):  # the driver is compiled, and this comes with its headers
        session.install("--group", "mariadb")
    session.run("python", "-m", "pytest", *session.posargs)
    session.run("python", "manage.py", "makemigrations", "--check", "--dry-run")


@nox.session(python="3.11")
def core(session: nox.Session) -> None:
    """Test the core in an environment without Django; Redis and the long proofs are left out."""
    session.install("attrs", "cryptography", "hypothesis", "langfuse", "opentelemetry-sdk")
    session.install("pydantic", "redis")
    session.install("pytest>=8.4", "pytest-timeout")
    session.install("--no-deps", ".")
    session.run("python", "-c", "import importlib.util as u; assert u.find_spec('django') is None")
    # `tests/conftest.py` is about databases, and the ini file has an option of pytest-django.
    options = ["--confcutdir=tests/core", "-W", "ignore::pytest.PytestConfigWarning"]
    options += ["-o", "addopts=-ra --import-mode=importlib --strict-markers"]
    chosen = session.posargs or ["-m", "not redis and not soak", "tests/core"]
    session.run("python", "-m", "pytest", *options, *chosen)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports."""
    install(session, "dev")
    session.run("python", "-m", "ruff", "check", ".")
    session.run("python", "-m", "ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of both packages."""
    install(session, "dev")
    session.run("python", "-m", "mypy", "fluxio", "fluxio_django")
    session.run("python", "-m", "tests.typing")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, "docs")
    session.run(
        "python", "-m", "sphinx", "--fail-on-warning", "-b", "html", "docs", "docs/_build/html"
    )
