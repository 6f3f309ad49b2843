"""Lets a pipeline die at a chosen checkpoint, so that a test can see how its run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from fluxio.errors import ConfigurationError
from fluxio.pipeline import Pipeline
from fluxio.store.base import (
    Checkpoint,
    CheckpointStore,
    Claim,
    Commit,
    Journal,
    Leasing,
    Opening,
    Transactions,
)
from fluxio.store.lone import open_journal
from fluxio.testing.passing import PassingJournal, PassingLeasing, PassingTransactions
from fluxio.types import RunStatus

Result = TypeVar("Result")


class SimulatedCrash(BaseException):
    """The process is dead, as far as the store can tell. No `Exception`, so nothing handles it."""


@dataclass(kw_only=True, slots=True)
class Crash:
    """A death that was ordered; `happened` says whether the run came that far."""

    checkpoint: int
    stored: bool
    happened: bool = False


@contextmanager
def crash_at(pipeline: Pipeline, checkpoint: int, *, stored: bool = True) -> Iterator[Crash]:
    """Within the block, the pipeline's process dies at a checkpoint; the block ends there.

    From that moment on the store hears nothing more of the execution, which is what sets a crash
    apart from a failure. Nobody owns the run afterwards, as after the end of its lease.

        for number in range(100):
            with crash_at(pipeline, number) as crash:
                await pipeline.invoke(order, run_id=f"run-{number}")
            if not crash.happened:
                break
            final = await pipeline.invoke({}, run_id=f"run-{number}", resume=True)

    What a killed process would never do is still done: `finally` blocks of stages that are
    cancelled, and callbacks. One execution at a time.

    Args:
        pipeline: a durable one; its store stands back for the block.
        checkpoint: 0 is the start of the run, and then each commit counts once. A step, or several
            that end in the same moment, is a commit. A run that is resumed has no start: then 0
            is its first commit.
        stored: whether that checkpoint is durable when the process dies, or was about to be.

    Raises:
        ConfigurationError: the pipeline keeps no checkpoints.
        ValueError: `checkpoint` is negative.
    """
    store = pipeline.checkpoint_store
    if store is None or not pipeline.durable:
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r} keeps no checkpoints to die at. "
            "Build it with durable=True."
        )
    if checkpoint < 0:
        raise ValueError(f"Checkpoints count from 0; there is no checkpoint {checkpoint}.")
    crash = Crash(checkpoint=checkpoint, stored=stored)
    pipeline.checkpoint_store = _MortalStore(store, crash)
    try:
        yield crash
    except SimulatedCrash:
        pass
    finally:
        pipeline.checkpoint_store = store


class _MortalStore(CheckpointStore):
    """A store whose journal hears nothing more from some checkpoint on."""

    def __init__(self, store: CheckpointStore, crash: Crash) -> None:
        self._store = store
        self._journal = _MortalJournal(open_journal(store), crash)

    def journal(self) -> Journal:
        return self._journal

    async def save(self, checkpoint: Checkpoint) -> None:
        await self._store.save(checkpoint)

    async def load(self, run_id: str) -> Checkpoint | None:
        return await self._store.load(run_id)

    async def delete(self, run_id: str) -> None:
        await self._store.delete(run_id)

    async def exists(self, run_id: str) -> bool:
        return await self._store.exists(run_id)


class _MortalJournal(PassingJournal):
    def __init__(self, journal: Journal, crash: Crash) -> None:
        transactions, leasing = journal.transactions, journal.leasing
        super().__init__(
            journal,
            transactions=transactions and _MortalTransactions(transactions, self),
            leasing=leasing and _MortalLeasing(leasing, crash),
        )
        self._crash = crash
        self._next = 0

    @property
    def behind(self) -> Journal:
        self.live()
        return super().behind

    async def open(self, opening: Opening) -> Claim:
        if opening.start is None:
            return await super().open(opening)
        if self.dies_before():
            raise self.died()
        claim = await super().open(opening)
        await self.survive(claim)
        return claim

    async def commit(self, claim: Claim, commit: Commit) -> None:
        if self.dies_before():
            await self.let_go(claim)
            raise self.died()
        await super().commit(claim, commit)
        await self.survive(claim)

    # --- when to die

    def live(self) -> None:
        """Do nothing as long as the process lives."""
        if self._crash.happened:
            raise SimulatedCrash

    def dies_before(self) -> bool:
        """Whether the process dies before it stores this checkpoint."""
        self.live()
        return self._next == self._crash.checkpoint and not self._crash.stored

    async def survive(self, claim: Claim) -> None:
        """Go on after a checkpoint was stored, or die."""
        due = self._next == self._crash.checkpoint
        self._next += 1
        if due:
            await self.let_go(claim)
            raise self.died()

    def died(self) -> SimulatedCrash:
        """The process is dead from now on."""
        self._crash.happened = True
        return SimulatedCrash()

    async def let_go(self, claim: Claim) -> None:
        """Free the run, since nobody wants to wait for the end of its lease."""
        record = await self._behind.run(claim.run_id)
        if record is not None and record.status is RunStatus.RUNNING:
            await self._behind.commit(
                claim,
                Commit(
                    rows=(),
                    ip=record.ip,
                    step=record.step,
                    attempt=record.attempt,
                    status=RunStatus.FAILED,
                    error="The process died, by way of a test.",
                ),
            )


class _MortalTransactions(PassingTransactions):
    def __init__(self, transactions: Transactions, journal: _MortalJournal) -> None:
        super().__init__(transactions)
        self._journal = journal

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        dies_before = self._journal.dies_before()

        def mortal() -> tuple[Result, Commit]:
            done = work()
            if dies_before:
                raise self._journal.died()  # and so the transaction is rolled back
            return done

        try:
            result = await super().run(claim, mortal)
        except SimulatedCrash:
            await self._journal.let_go(claim)
            raise
        await self._journal.survive(claim)
        return result


class _MortalLeasing(PassingLeasing):
    def __init__(self, leasing: Leasing, crash: Crash) -> None:
        super().__init__(leasing)
        self._crash = crash

    def renew(self, claims: Sequence[Claim]) -> None:
        if not self._crash.happened:
            super().renew(claims)

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        return {} if self._crash.happened else super().wishes(claims)
