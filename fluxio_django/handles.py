"""What enqueueing a run gives: its id, and ways to ask what has become of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import async_to_sync

from fluxio.context import Context, FinalContext
from fluxio.errors import ConfigurationError, RunCancelledError, RunFailedError
from fluxio.runtime.environment import default_environment
from fluxio.runtime.history import Log, read_recorded
from fluxio.store.admission import no_checkpoint
from fluxio.store.base import RunRecord
from fluxio.types import RunStatus
from fluxio_django.dispatch import Delivery, hasten
from fluxio_django.journal import DjangoJournal
from fluxio_django.references import fetching
from fluxio_django.tables import Tables, hop

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class RunHandle:
    """A run that was enqueued. It says nothing about the run that the database does not.

    Attributes:
        run_id: the id of the run.
        is_new: whether this call has made the run, and did not find it there.
    """

    run_id: str
    _tables: Tables = field(repr=False)
    _delivery: Delivery = field(repr=False, default_factory=Delivery, compare=False)
    is_new: bool = field(default=False, kw_only=True, compare=False)

    @property
    def problem(self) -> str:
        """Why no worker knows of the run yet, though it is stored; "" where nothing is amiss.

        The next sweep hands it over. Always "" while the caller's transaction is open.
        """
        return self._delivery.problems.get(self.run_id, "")

    def status(self) -> RunStatus:
        """Where the run is in its life.

        Raises:
            NoCheckpointError: the transaction that enqueued it was rolled back, or it was pruned.
        """
        return self._record().status

    async def astatus(self) -> RunStatus:
        """Do as `status`."""
        return await hop(self.status)

    def result(self, timeout: float | None = None) -> FinalContext:
        """Wait until the run has ended, at most so many seconds, and give its final context.

        Raises:
            TimeoutError: it has not ended by then; it goes on all the same.
            ReferenceGoneError: a row that its context refers to has been deleted.
            RunFailedError: it failed, or was given up.
            RunCancelledError: it was cancelled.
            ConfigurationError: called in the transaction that enqueued it, which must end first.
            NoCheckpointError: as for `status`.
        """
        deadline, pause = _deadline(timeout), _FIRST_PAUSE
        while (final := self._final(timeout)) is None:
            time.sleep(_until(deadline, pause, self.run_id))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return final

    async def aresult(self, timeout: float | None = None) -> FinalContext:
        """Do as `result`, without keeping the event loop waiting."""
        deadline, pause = _deadline(timeout), _FIRST_PAUSE
        while (final := await hop(self._final, timeout)) is None:
            await default_environment().clock.sleep(_until(deadline, pause, self.run_id))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return final

    def _final(self, timeout: float | None) -> FinalContext | None:
        record = self._record()
        match record.status:
            case RunStatus.SUCCEEDED:
                return self._context(record)
            case RunStatus.FAILED | RunStatus.DEAD:
                raise RunFailedError(
                    f"Run {self.run_id!r} is {record.status}: {record.error}",
                    run_id=self.run_id,
                    error=record.error,
                )
            case RunStatus.CANCELLED:
                raise RunCancelledError(
                    f"Run {self.run_id!r} was cancelled: {record.error or 'no reason given'}.",
                    run_id=self.run_id,
                    reason=record.error,
                )
            case _:
                self._refuse_endless_wait()
                hasten(self.run_id)
                return None

    def _refuse_endless_wait(self) -> None:
        blocks: list[Any] = self._tables.connection.atomic_blocks
        if blocks and not blocks[-1]._from_testcase:
            raise ConfigurationError(
                f"Run {self.run_id!r} is dispatched when the transaction that is open here has "
                "ended; waiting for its result inside would never end. Ask after the block."
            )

    def _record(self) -> RunRecord:
        record = DjangoJournal(self._tables).run_blocking(self.run_id)
        if record is None:
            raise no_checkpoint(self.run_id)
        return record

    def _context(self, record: RunRecord) -> FinalContext | None:
        """The context with which the run has succeeded; None where it was begun anew meanwhile."""
        record, rows = async_to_sync(read_recorded)(DjangoJournal(self._tables), record)
        if record.status is not RunStatus.SUCCEEDED:
            return None
        with fetching() as fetch:
            values = Log.open(self.run_id, rows).values()
            fetch([values])
        return FinalContext.of(Context.create(values), self.run_id)


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _until(deadline: float, pause: float, run_id: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"Run {run_id!r} has not ended in time; it goes on all the same.")
    return min(pause, left)
