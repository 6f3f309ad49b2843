"""The core is tested in its own environment, as in a process without Django."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fluxio.runtime.environment import (
    Environment,
    default_environment,
    set_default_environment,
)
from tests.proofs.tally import TALLY, Tally


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """Counts trials and violations, also where there is no table at the end to show them."""
    return pytestconfig.stash.setdefault(TALLY, Tally())


@pytest.fixture(autouse=True)
def core_environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """The core's own ports; a test may be given another through `indirect`."""
    before = default_environment()
    environment = getattr(request, "param", None) or Environment()
    set_default_environment(environment)
    yield environment
    set_default_environment(before)
