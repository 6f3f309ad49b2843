"""What a case of the store contract is, and what it asks of the store under test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Protocol, TypeVar

from fluxio.store.base import CheckpointStore, Journal, Leasing, Transactions


class Capability(StrEnum):
    """What a store, or its fixture, offers beyond the four methods."""

    JOURNAL = "journal"
    """`store.journal()` gives a journal with history."""
    LEASES = "leases"
    """The journal's claims expire, and the fixture can let time pass."""
    TRANSACTIONS = "transactions"
    """The journal commits a stage's own writes, and the fixture has a ledger to write in."""
    SHARED = "shared"
    """The fixture can make another store object on the same data, as another process would."""
    THREADS = "threads"
    """The store may be used from several threads at once, each with an event loop of its own."""
    DAMAGE = "damage"
    """The fixture can change stored rows behind the store's back."""


class Ledger(Protocol):
    """Where a transactional stage writes, in the same database as the checkpoints."""

    def write(self, note: str) -> None:
        """Add a note; called from inside a transaction, on its thread."""

    async def notes(self) -> list[str]:
        """The notes that were committed, in any order."""


Offer = TypeVar("Offer")

Damage = Callable[[str, int, Callable[[str], str | None]], Awaitable[None]]
"""`(run_id, sequence, change)`: store `change(payload)` in place of a payload; None: no row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A store under test, empty, and what its fixture can do for the cases.

    `advance(seconds)` makes leases that much older: move the store's clock, or move their expiry
    back. `another()` makes one more store object on the same data. `threads` says that the store
    may be used from several threads at once.
    """

    store: CheckpointStore
    advance: Callable[[float], Awaitable[None]] | None = None
    another: Callable[[], CheckpointStore] | None = None
    damage: Damage | None = None
    ledger: Ledger | None = None
    threads: bool = True

    @property
    def journal(self) -> Journal:
        """The store's journal; cases that use it require JOURNAL."""
        return _offered(self.store.journal(), "a journal")

    @property
    def leasing(self) -> Leasing:
        """The journal's leases; cases that use them require LEASES."""
        return _offered(self.journal.leasing, "leases")

    @property
    def transactions(self) -> Transactions:
        """The journal's transactions; cases that use them require TRANSACTIONS."""
        return _offered(self.journal.transactions, "transactions")

    @property
    def notes(self) -> Ledger:
        """The fixture's ledger; cases that use it require TRANSACTIONS."""
        return _offered(self.ledger, "a ledger")

    def second(self) -> CheckpointStore:
        """Another store object on the same data; cases that use it require SHARED."""
        return _offered(self.another, "another store on the same data")()

    async def pass_time(self, seconds: float) -> None:
        """Let leases age; cases that use it require LEASES."""
        await _offered(self.advance, "a way to let time pass")(seconds)

    async def spoil(self, run_id: str, sequence: int, change: Callable[[str], str | None]) -> None:
        """Change a stored row; cases that use it require DAMAGE."""
        await _offered(self.damage, "a way to damage rows")(run_id, sequence, change)


def capabilities_of(subject: Subject | CheckpointStore) -> frozenset[Capability]:
    """What a subject offers; a bare store offers what it can do without a fixture's help."""
    known = as_subject(subject)
    journal = known.store.journal()
    leasing = journal is not None and journal.leasing is not None
    transactions = journal is not None and journal.transactions is not None
    offers = {
        Capability.JOURNAL: journal is not None,
        Capability.LEASES: leasing and known.advance is not None,
        Capability.TRANSACTIONS: transactions and known.ledger is not None,
        Capability.SHARED: known.another is not None,
        Capability.THREADS: known.threads,
        Capability.DAMAGE: known.damage is not None,
    }
    return frozenset(capability for capability, offered in offers.items() if offered)


def as_subject(subject: Subject | CheckpointStore) -> Subject:
    """The subject itself, or a bare store made one."""
    return subject if isinstance(subject, Subject) else Subject(store=subject)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One promise of the contract: `sentence` states it, `run` proves it or raises."""

    name: str
    topic: str
    sentence: str
    requires: frozenset[Capability]
    proof: Callable[[Subject], Awaitable[None]]

    @property
    def __name__(self) -> str:
        """What pytest calls the case."""
        return self.name

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"

    async def run(self, subject: Subject | CheckpointStore) -> None:
        """Prove the promise on an empty store.

        Raises:
            AssertionError: the store breaks it; the message says what was expected.
        """
        await self.proof(as_subject(subject))


Proof = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Topic:
    """Collects the cases of one module; every one of them requires `requires`."""

    name: str
    requires: frozenset[Capability] = frozenset()
    cases: list[Case] = field(default_factory=list)

    def promise(
        self,
        sentence: str,
        *requires: Capability,
        over: Mapping[str, Any] | Iterable[str] | None = None,
    ) -> Callable[[Proof], Proof]:
        """Register the decorated function as a case.

        With `over` it becomes one case per entry, and is called with the entry's value as its
        second argument; the keys (or the texts themselves) tell the cases apart.
        """

        def register(proof: Proof) -> Proof:
            if over is None:
                self._add(proof.__name__, sentence, requires, proof)
                return proof
            values = over if isinstance(over, Mapping) else {text: text for text in over}
            for label, value in values.items():
                name = f"{proof.__name__}[{label}]"
                self._add(name, sentence, requires, partial(_with, proof, value))
            return proof

        return register

    def _add(self, name: str, sentence: str, requires: Iterable[Capability], proof: Proof) -> None:
        self.cases.append(
            Case(
                name=f"{self.name}.{name}",
                topic=self.name,
                sentence=sentence,
                requires=self.requires | frozenset(requires),
                proof=proof,
            )
        )


async def _with(proof: Proof, value: Any, subject: Subject) -> None:
    await proof(subject, value)


def _offered(value: Offer | None, what: str) -> Offer:
    if value is None:
        raise AssertionError(f"This case needs {what}; choose cases by the store's capabilities.")
    return value
