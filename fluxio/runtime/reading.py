"""Asks a journal about the runs of one pipeline: records, states, values, differences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from fluxio.context import Context
from fluxio.diff import Diff, compare
from fluxio.errors import InvalidRunIDError
from fluxio.passages import Force, Passage
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime.carrying import carried_over
from fluxio.runtime.environment import Fetch, SyncCaller, nothing_elsewhere
from fluxio.runtime.history import (
    HistoryEntry,
    Log,
    read_all,
    read_newest,
    read_recorded,
    state_before,
)
from fluxio.runtime.machine import Position, State
from fluxio.store.admission import (
    foreign_run,
    no_checkpoint,
    run_has_changed,
    version_changed,
)
from fluxio.store.base import Journal, Row, RunRecord
from fluxio.types import RunStatus

Found = TypeVar("Found")

_RUN_ID = re.compile(r"[\x21-\x7e]{1,128}")

Contexts = Iterable[Mapping[str, Any]]

Moment = int | str | None
"""A recorded moment: after the row of a sequence, before a step, or the newest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads runs; rows are decoded where plain functions are called (`caller`).

    What will be worked with is completed by `fetching`; what is only shown or compared is not, so
    that it asks nobody else.
    """

    program: CompiledPipeline
    journal: Journal
    caller: SyncCaller
    fetching: Callable[[], AbstractContextManager[Fetch]] = nothing_elsewhere

    async def state(self, run_id: str, at: Moment) -> Context:
        """The run's context at a recorded moment.

        Raises:
            NoCheckpointError: no such run or moment.
            TypeError: `at` is none of the kinds of a moment.
            CorruptCheckpointError: a row is damaged.
        """
        return Context.create(await self._values(run_id, at, self.fetching))

    async def diff(self, a: tuple[str, Moment], b: tuple[str, Moment]) -> Diff:
        """Compare two recorded moments key by key."""
        return compare(await self.values(*a), await self.values(*b))

    async def history(self, run_id: str) -> list[HistoryEntry]:
        """Every row of a run, decoded, oldest first."""
        record = await self.record(run_id)
        if not self.journal.snapshots_only:
            return (await self.log(record)).entries()
        # Of such a run there are whole states only, and rows are missing between them.
        states = await read_all(self.journal, run_id)
        return [entry for row in states for entry in Log.open(run_id, [row]).entries()]

    async def record(self, run_id: str) -> RunRecord:
        """The record of a run, of whatever pipeline.

        Raises:
            NoCheckpointError: no such run.
        """
        record = await self.journal.run(checked_run_id(run_id))
        if record is None:
            raise no_checkpoint(run_id)
        return record

    async def known(self, run_id: str) -> RunRecord:
        """The record of a run that this program may go on with.

        Raises:
            NoCheckpointError: no such run.
            ForeignRunError: it belongs to another pipeline.
            CheckpointVersionError: other code recorded it.
        """
        record = await self.record(run_id)
        self.check_ours(record)
        if record.version != self.program.version:
            await self._refuse_version(record)
        return record

    async def _refuse_version(self, record: RunRecord) -> NoReturn:
        stored = await self.journal.manifest(record.pipeline, record.version)
        changes = stored.changes_to(self.program.manifest) if stored else ()
        raise version_changed(record, self.program.version, changes)

    async def admitted(
        self,
        run_id: str,
        force: Force | None = None,
        *,
        state_as_it_is: bool = False,
        known: RunRecord | None = None,
    ) -> tuple[RunRecord, Passage | None]:
        """The record of a run that may go on here, with its passage where other code recorded it.

        `state_as_it_is` says that a migration is of no use: it knows the newest state only. A
        record that is `known` is not read again.

        Raises:
            NoCheckpointError, ForeignRunError, CheckpointVersionError: as for `known`.
        """
        record = known or await self.record(run_id)
        self.check_ours(record)
        if record.version == self.program.version:
            return record, None
        passage = self.program.passages.find(record.version, force)
        if passage is None or (state_as_it_is and passage.migration is not None):
            await self._refuse_version(record)
        return record, passage

    async def carried(self, record: RunRecord, passage: Passage) -> State:
        """The state from which a run of another version goes on.

        Raises:
            CheckpointVersionError: there is none; `changes` says why.
        """

        def find(log: Log) -> tuple[State, Contexts]:
            state = carried_over(self.program, record, log, passage)
            return state, _contexts(state)

        whole = passage.migration is not None
        now, state = await self._load(record, find, self.fetching, whole=whole)
        _check_version(record, now)
        return state

    def check_ours(self, record: RunRecord) -> None:
        """Let a record pass that belongs to this pipeline, or to nobody in particular.

        Raises:
            ForeignRunError: it belongs to another one.
        """
        if record.pipeline not in ("", self.program.name):
            raise foreign_run(self.program.name, record)

    async def log(self, record: RunRecord) -> Log:
        """All rows of a run, decoded."""
        _, rows = await read_recorded(self.journal, record, whole=True)
        return await self.caller.call(Log.open, record.run_id, rows)

    async def values(self, run_id: str, at: Moment) -> dict[str, Any]:
        """The values of a run's context at a moment, to be shown or compared."""
        return await self._values(run_id, at, nothing_elsewhere)

    async def newest_state(
        self, record: RunRecord, *, head: int, rows: Sequence[Row] = ()
    ) -> State:
        """The state in which a run stands whose newest row is `head`, to go on from.

        `rows` make it up, where they are known already. Else rows behind the head are read as well:
        there may be none, and the store says so. Of a run that has only begun, all rows are asked
        for instead of where its newest full one is.
        """

        def find(log: Log) -> tuple[State, Contexts]:
            state = log.final_state(self.program)
            return state, _contexts(state)

        return await self._find_newest(record, rows, find, whole=head == 0)

    async def newest_context(self, record: RunRecord, rows: Sequence[Row] = ()) -> Context:
        """The context of a run that is ours, needing no program; `rows` as for `newest_state`."""
        return Context.create(await self._find_newest(record, rows, _values_of))

    async def result(self, record: RunRecord) -> Context:
        """The context with which a run has succeeded, needing no program.

        Raises:
            RunIDInUseError: somebody has begun it anew since its record was read.
            CorruptCheckpointError: a row is damaged.
        """
        now, values = await self._load(record, _values_of, self.fetching)
        if now.status is not RunStatus.SUCCEEDED:
            raise run_has_changed(now)
        _check_version(record, now)
        return Context.create(values)

    async def _values(
        self, run_id: str, at: Moment, fetching: Callable[[], AbstractContextManager[Fetch]]
    ) -> dict[str, Any]:
        if isinstance(at, bool) or not isinstance(at, int | str | None):
            raise TypeError(
                f"{at!r} is no moment of a run. Give the number of a row, the key of a step, or "
                "None for the newest state."
            )
        record = await self.record(run_id)
        if isinstance(at, str):
            step = self.program.call(at).key
            known = await self.known(run_id)

            def find(log: Log) -> tuple[dict[str, Any], Contexts]:
                _, state = state_before(log, self.program, step)
                values = dict(state[MAIN_LANE].context)
                return values, [values]

            now, values = await self._load(known, find, fetching, whole=True)
            _check_version(known, now)
            return values
        if at is not None and not 0 <= at <= record.head:
            problem = no_checkpoint(run_id)
            problem.args = (f"Run {run_id!r} has rows 0 to {record.head}; there is no row {at}.",)
            raise problem
        _, values = await self._load(record, _values_of, fetching, upto=at)
        return values

    async def moment_to_rerun(
        self,
        record: RunRecord,
        from_step: str | None,
        patch: Mapping[str, Any] | None = None,
    ) -> tuple[int, State]:
        """The state from which a replay or a fork starts, and the sequence of its row.

        `patch` is what will be set in it: nothing of that is looked for.
        """
        step = None if from_step is None else self.program.call(from_step).key
        foreign = "" if record.version == self.program.version else record.version

        def find(log: Log) -> tuple[tuple[int, State], Contexts]:
            if step is not None:
                sequence, state = state_before(log, self.program, step, foreign)
            else:
                state = log.final_state(self.program, foreign)
                sequence = log.rows[-1].sequence
            if patch:
                state = {
                    lane: Position(at.ip, at.context.overlaid(patch)) for lane, at in state.items()
                }
            return (sequence, state), _contexts(state)

        upto = 0 if step is None and record.status is RunStatus.SUCCEEDED else None
        whole = step is not None
        now, found = await self._load(record, find, self.fetching, whole=whole, upto=upto)
        _check_version(record, now)
        return found

    async def _load(
        self,
        record: RunRecord,
        find: Callable[[Log], tuple[Found, Contexts]],
        fetching: Callable[[], AbstractContextManager[Fetch]],
        *,
        whole: bool = False,
        upto: int | None = None,
    ) -> tuple[RunRecord, Found]:
        """What `find` sees in the log; the contexts it gives as well are completed.

        The record comes with it, which is another one where the run was begun anew meanwhile.
        """
        now, rows = await read_recorded(self.journal, record, whole=whole, upto=upto)
        return now, await self._find(now, rows, find, fetching)

    async def _find_newest(
        self,
        record: RunRecord,
        rows: Sequence[Row],
        find: Callable[[Log], tuple[Found, Contexts]],
        *,
        whole: bool = False,
    ) -> Found:
        if not rows:
            rows = await (read_all if whole else read_newest)(self.journal, record.run_id)
        return await self._find(record, rows, find, self.fetching)

    async def _find(
        self,
        record: RunRecord,
        rows: Sequence[Row],
        find: Callable[[Log], tuple[Found, Contexts]],
        fetching: Callable[[], AbstractContextManager[Fetch]],
    ) -> Found:
        def load() -> Found:
            with fetching() as fetch:
                found, contexts = find(Log.open(record.run_id, rows))
                fetch(contexts)
            return found

        return await self.caller.call(load)


def _values_of(log: Log) -> tuple[dict[str, Any], Contexts]:
    values = log.values()
    return values, [values]


def _check_version(record: RunRecord, now: RunRecord) -> None:
    if (now.pipeline, now.version) != (record.pipeline, record.version):
        raise run_has_changed(now)


def _contexts(state: State) -> Contexts:
    return [at.context for at in state.values()]


def checked_run_id(run_id: str) -> str:
    """The id itself, when it is one.

    Raises:
        InvalidRunIDError: it is not 1 to 128 printable ASCII characters without spaces.
    """
    if not isinstance(run_id, str) or _RUN_ID.fullmatch(run_id) is None:
        raise InvalidRunIDError(
            f"{run_id!r} is no run id: use 1 to 128 printable ASCII characters without spaces.",
            run_id=run_id,
        )
    return run_id
