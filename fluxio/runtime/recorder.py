"""Turns outcomes into rows and commits them under a claim."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from fluxio.errors import RunCancelledError, StoreError, StoreUnavailableError
from fluxio.passages import Force, Passage
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime.environment import Clock, Scrub, default_scrub
from fluxio.runtime.machine import State
from fluxio.runtime.outcomes import Failed, Outcome, Succeeded
from fluxio.runtime.settling import Settled, settled
from fluxio.store.base import Claim, Commit, Journal, Row, RowKind, Transactions
from fluxio.store.payload import (
    Body,
    CarriedBody,
    ErrorBody,
    LaneBody,
    RowFacts,
    encode_body,
    encode_lanes,
    encode_step,
    seal_row,
)
from fluxio.types import RunStatus

Result = TypeVar("Result")

MESSAGE_LIMIT = 2_000
"""Characters of an error's message that are kept."""
TRACEBACK_LIMIT = 16_000
"""Characters of a traceback that are kept, from its end."""

_PACKAGE = Path(__file__).parents[1]

_FIRST_CHECK_ROWS = 64
_FIRST_CHECK_BYTES = 1_000_000


class Entry(NamedTuple):
    """An outcome to be recorded: with its text (see `encode_body`) and the state after it."""

    outcome: Outcome
    text: str
    state: State


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How an execution leaves its run: at which step, why, and what the last try took (seconds)."""

    status: RunStatus
    step: str = ""
    error: BaseException | None = None
    tries: int = 0
    duration: float = 0.0


class Recorder:
    """Writes the log of one execution.

    Now and then a row is written full, so that a resume folds few rows: a full row is tried when 64
    rows or 1 MB came since the last one, and written when the whole state is at most a quarter of
    what those rows hold. Otherwise both thresholds double, so the tries cost little in all and the
    full rows add at most a quarter to what is written. Texts of errors pass through `scrub`.
    """

    def __init__(
        self,
        journal: Journal,
        claim: Claim,
        program: CompiledPipeline,
        clock: Clock,
        scrub: Scrub = default_scrub,
    ) -> None:
        self.claim = claim
        self.attempt = claim.attempt
        self._journal = journal
        self._program = program
        self._clock = clock
        self._scrub = scrub
        self._head = claim.head
        self._rows_since_full = 0
        self._bytes_since_full = 0
        self._check_rows = _FIRST_CHECK_ROWS
        self._check_bytes = _FIRST_CHECK_BYTES

    @property
    def transactions(self) -> Transactions | None:
        """The transactional capability of the store."""
        return self._journal.transactions

    @property
    def head(self) -> int:
        """The sequence of the newest durable row."""
        return self._head

    def step_text(self, outcome: Succeeded) -> str:
        """What a step wrote, as text.

        Raises:
            EncodingError: a value cannot be stored; the stage must not count as done.
        """
        return encode_step(outcome.writes, outcome.route)

    def failure_text(self, failure: Failed, state: State) -> str:
        """A failure, as text."""
        return encode_body(Body(error=self._error_body(failure.error, state)))

    def prepare(
        self, entries: Sequence[Entry], state: State, ending: Ending | None = None
    ) -> Commit:
        """The commit that records entries, and the end of the execution when there is one."""
        rows = [self._entry_row(self._head + 1 + at, entry) for at, entry in enumerate(entries)]
        if ending is not None and ending.status is not RunStatus.SUCCEEDED:
            rows.append(self._ending_row(self._head + 1 + len(rows), ending, state))
        due = self._program.instructions[state[MAIN_LANE].ip]
        return Commit(
            rows=tuple(rows),
            ip=state[MAIN_LANE].ip,
            step=due.key if ending is None else ending.step,
            attempt=self.attempt,
            status=RunStatus.RUNNING if ending is None else ending.status,
            error=self._summary(ending.error, state) if ending and ending.error else "",
        )

    async def commit(self, commit: Commit) -> Settled[None]:
        """Make a commit durable; a cancellation waits until its outcome is known.

        A store that failed may have done its work all the same; then the row is there.

        Raises:
            LeaseLostError: the claim is no longer valid; nothing was written.
            StoreError: the store failed, and the commit is not known to be durable.
        """
        done = await settled(
            self._journal.commit(self.claim, commit), lambda error: self._rescue(commit, error)
        )
        self.advance(commit)
        return done

    async def commit_failure(self, commit: Commit) -> None:
        """Do as `commit` with the end of a run that failed; where its row is refused, without it.

        Raises:
            LeaseLostError, StoreError: as `commit` does.
        """
        try:
            await self.commit(commit)
        except StoreUnavailableError:
            raise
        except StoreError:
            await self.commit(replace(commit, rows=()))

    async def _rescue(self, commit: Commit, error: Exception) -> None:
        if not isinstance(error, StoreError) or not await self._is_there(commit):
            raise error

    async def _is_there(self, commit: Commit) -> bool:
        """Whether a commit is known to be recorded.

        Its row may be that of an heir, who did the same and whose row is the same. Ours it is if
        nobody has claimed the run by the time it was found; or it is the end of the run for both.
        """
        if not commit.rows:
            return False
        run_id, newest = self.claim.run_id, commit.rows[-1]
        try:
            found = await self._journal.rows(run_id, first=newest.sequence, last=newest.sequence)
            if [row.digest for row in found] != [newest.digest]:
                return False
            record = await self._journal.run(run_id)
        except StoreError:
            return False
        if record is None:
            return False
        ended = commit.status is not RunStatus.RUNNING and record.status is commit.status
        return ended or record.token == self.claim.token

    async def transact(self, work: Callable[[], tuple[Result, Commit]]) -> Result:
        """Run `work` in a transaction that ends with the commit it asks for."""
        transactions = self._journal.transactions
        assert transactions is not None
        return await transactions.run(self.claim, work)

    async def begin_attempt(self, state: State, passage: Passage | None = None) -> None:
        """Start a new attempt of the run from a state; earlier rows stay as they are.

        `passage` says how the state came here from another version.
        """
        self.attempt += 1
        due = self._program.instructions[state[MAIN_LANE].ip]
        facts = self._facts(self._head + 1, RowKind.START, state, full=True)
        row = start_row(self._program, state, facts, passage)
        done = await self.commit(
            Commit(rows=(row,), ip=state[MAIN_LANE].ip, step=due.key, attempt=self.attempt)
        )
        done.deliver()

    def advance(self, commit: Commit) -> None:
        """Remember that a commit is durable."""
        if commit.rows:
            self._head = commit.rows[-1].sequence

    def _entry_row(self, sequence: int, entry: Entry) -> Row:
        outcome = entry.outcome
        succeeded = isinstance(outcome, Succeeded)
        whole = self._full_text(entry) if succeeded or self._journal.snapshots_only else None
        kind = RowKind.STEP if succeeded else RowKind.ERROR
        facts = self._facts(sequence, kind, entry.state, full=whole is not None)
        self._place(facts, outcome.ip)
        facts.tries, facts.duration = outcome.tries, outcome.duration
        return seal_row(facts, whole or entry.text)

    def _ending_row(self, sequence: int, ending: Ending, state: State) -> Row:
        failed = ending.status is RunStatus.FAILED
        full = self._journal.snapshots_only
        kind = RowKind.ERROR if failed else RowKind.END
        facts = self._facts(sequence, kind, state, full=full)
        if failed:
            self._place(facts, self._program.index[ending.step])
            facts.tries, facts.duration = ending.tries, ending.duration
            facts.background = False  # the run failed here, so no branch is closed by it
        error = None if ending.error is None else self._error_body(ending.error, state)
        lanes = lane_bodies(self._program, state) if full else None
        return seal_row(facts, encode_body(Body(error=error, lanes=lanes)))

    def _error_body(self, error: BaseException, state: State) -> ErrorBody:
        body, values = error_body(error), _values_of(state)
        return ErrorBody(
            type=body.type,
            message=self._scrub(body.message, values),
            traceback=self._scrub(body.traceback, values),
        )

    def _summary(self, error: BaseException, state: State) -> str:
        return self._scrub(_summary(error), _values_of(state))

    def _full_text(self, entry: Entry) -> str | None:
        """The entry's text with the whole state in it, when a full row is due."""
        self._rows_since_full += 1
        self._bytes_since_full += len(entry.text)
        always = self._journal.snapshots_only
        due = (
            self._rows_since_full >= self._check_rows or self._bytes_since_full >= self._check_bytes
        )
        # The whole state cannot be smaller than what the step has just written.
        hopeless = len(entry.text) * 4 > self._bytes_since_full
        if not always and (hopeless or not due):
            return None
        lanes = lane_bodies(self._program, entry.state)
        whole = f"{entry.text[:-1]},{encode_lanes(lanes)}}}"
        if always or len(whole) * 4 <= self._bytes_since_full:
            self._rows_since_full = self._bytes_since_full = 0
            self._check_rows, self._check_bytes = _FIRST_CHECK_ROWS, _FIRST_CHECK_BYTES
            return whole
        self._check_rows *= 2
        self._check_bytes *= 2
        return None

    def _facts(self, sequence: int, kind: RowKind, state: State, *, full: bool) -> RowFacts:
        return RowFacts(
            run_id=self.claim.run_id,
            sequence=sequence,
            attempt=self.attempt,
            kind=kind,
            ip=state[MAIN_LANE].ip,
            version=self._program.version,
            full=full,
            created_at=self._clock.now(),
        )

    def _place(self, facts: RowFacts, ip: int) -> None:
        at = self._program.instructions[ip]
        lane = self._program.lanes[at.lane]
        facts.step, facts.branch, facts.background = at.key, lane.path, lane.background


def start_row(
    program: CompiledPipeline, state: State, facts: RowFacts, passage: Passage | None = None
) -> Row:
    """A full row from which an attempt begins.

    Raises:
        EncodingError: a value of the context cannot be stored.
    """
    carried = None if passage is None else _carried_body(passage)
    return seal_row(facts, encode_body(Body(lanes=lane_bodies(program, state), carried=carried)))


def _carried_body(passage: Passage) -> CarriedBody:
    force = passage.force or Force(by="")
    return CarriedBody(
        version=passage.version,
        kind=passage.kind.value,
        by=_capped(force.by),
        reason=_capped(force.reason),
    )


def lane_bodies(program: CompiledPipeline, state: State) -> dict[str, LaneBody]:
    """A state as it stands in a full row."""
    bodies: dict[str, LaneBody] = {}
    for lane, at in state.items():
        info = program.lanes[lane]
        whole = lane == MAIN_LANE or info.background
        bodies[info.path] = LaneBody(
            at=program.instructions[at.ip].key,
            values=dict(at.context) if whole else None,
            writes=dict(at.context.writes),
        )
    return bodies


def _values_of(state: State) -> Mapping[str, Any]:
    """What the lanes hold, for finding secrets; where two set one key, both values count."""
    return {f"{lane} {key}": at.context[key] for lane, at in state.items() for key in at.context}


def error_body(error: BaseException) -> ErrorBody:
    """A failure as it is kept: capped, so that no error can fill the log."""
    lines = "".join(traceback.format_exception(type(error), error, _from_user_code(error)))
    return ErrorBody(
        type=type(error).__qualname__,
        message=_capped(_message(error)),
        traceback=lines[-TRACEBACK_LIMIT:],
    )


def _summary(error: BaseException) -> str:
    if isinstance(error, RunCancelledError):
        return str(error)
    name, message = type(error).__qualname__, _capped(_message(error))[:500]
    return f"{name}: {message}" if message else name


def _from_user_code(error: BaseException) -> TracebackType | None:
    """The traceback without the runtime's own calls that led to the stage."""
    trace = error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE):
        trace = trace.tb_next
    return trace or error.__traceback__


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error that cannot speak is still recorded
        return "(no message)"


def _capped(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"
