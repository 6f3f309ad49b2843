"""The store contract as tests that anybody can run against a store of their own.

    from fluxio.testing import conformance

    @pytest.mark.parametrize("case", conformance.cases_for(MyStore()))
    async def test_my_store_keeps_the_contract(case):
        await case.run(MyStore())

Every case wants an empty store. What a store offers beyond the four methods is tested as far as it
says so (`journal()`), and as far as the fixture helps: hand over a `Subject` in place of a store.
"""

from __future__ import annotations

from collections.abc import Iterable

from fluxio.store.base import CheckpointStore
from fluxio.testing.conformance import (
    checkpoints,
    claims,
    commits,
    concurrency,
    damage,
    leases,
    rows,
    runs,
    shared,
    transactions,
)
from fluxio.testing.conformance.case import (
    Capability,
    Case,
    Ledger,
    Subject,
    capabilities_of,
)

__all__ = [
    "Capability",
    "Case",
    "Ledger",
    "Subject",
    "capabilities_of",
    "cases_for",
    "conformance_cases",
]

_TOPICS = (
    checkpoints.TOPIC,
    runs.TOPIC,
    claims.TOPIC,
    commits.TOPIC,
    rows.TOPIC,
    leases.TOPIC,
    transactions.TOPIC,
    shared.TOPIC,
    concurrency.TOPIC,
    damage.TOPIC,
)


def conformance_cases(capabilities: Iterable[Capability] = ()) -> list[Case]:
    """The cases for a store with these capabilities; without any, those that all must pass."""
    offered = frozenset(capabilities)
    return [case for topic in _TOPICS for case in topic.cases if case.requires <= offered]


def cases_for(sample: CheckpointStore | Subject) -> list[Case]:
    """The cases for a store like this one; the sample is only looked at, never used."""
    return conformance_cases(capabilities_of(sample))
