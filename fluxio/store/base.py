"""The contract between the runtime and whatever keeps its checkpoints.

`CheckpointStore` is all that a custom store needs: four async methods and whole snapshots. A store
that can do more offers a `Journal`: an append-only log of small rows under a lease with a fencing
token. The runtime itself only ever talks to a `Journal`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from fluxio.program import Manifest
from fluxio.types import RunStatus

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole snapshot of a run: what a four-method store sees.

    `ip` is the instruction pointer before which the snapshot was taken; `ip=0` with any context
    is a valid start. `meta` belongs to the runtime: it holds what a snapshot needs beyond its
    context (open branches, the error, the run's record) as JSON-compatible values.
    """

    run_id: str
    pipeline_version: str
    ip: int
    ctx_snapshot: dict[str, Any]
    created_at: datetime
    meta: dict[str, Any] = field(default_factory=dict)
    error: bool = False


class RowKind(StrEnum):
    """What a row of the log stands for."""

    START = "start"
    """The state an attempt begins from; always a full row."""
    STEP = "step"
    """A stage succeeded: what it wrote."""
    ERROR = "error"
    """A stage failed for good, or a FIRE_FORGET branch did; the state is unchanged."""
    END = "end"
    """The run was cancelled or given up; the state is unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a run's log, as every journal keeps it.

    `ip` is the run's own instruction pointer after the row (that of lane 0). `step` is the step
    key, "" for START and END. `branch` is the path of the branch the step belongs to, "" outside
    of any; `background` marks FIRE_FORGET branches. `full` says that the payload holds the whole
    state rather than the writes of one step. `payload` is sealed ASCII text and opaque to stores;
    `digest` covers it and every other field but `duration` and `created_at`. `duration` is in
    seconds, `tries` counts the attempts of the step.
    """

    sequence: int
    attempt: int
    kind: RowKind
    step: str
    ip: int
    branch: str
    background: bool
    version: str
    full: bool
    payload: str
    digest: str
    duration: float
    tries: int
    created_at: datetime

    @property
    def size(self) -> int:
        """Length of the payload in bytes."""
        return len(self.payload)

    @property
    def error(self) -> bool:
        """Whether the row records a failure."""
        return self.kind is RowKind.ERROR


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The authority on a run: its status, who owns it, and where its log stands.

    `head` is the sequence of the newest row, `step` the key of the step that is due or failed,
    `token` the fencing token of the last claim, `takeovers` how often an owner was lost since the
    newest row. `owner` and `lease_expires_at` are None when nobody owns the run. `parent` and
    `parent_sequence` link a fork to its source.
    """

    run_id: str
    pipeline: str
    version: str
    status: RunStatus
    attempt: int
    head: int
    ip: int
    step: str
    token: int
    owner: str | None
    lease_expires_at: datetime | None
    takeovers: int
    parent: str | None
    parent_sequence: int | None
    error: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    def stands_at(self, row: Row) -> bool:
        """Whether a row is the newest one, as far as the record tells."""
        told = self.head, self.attempt, self.ip
        return told == (row.sequence, row.attempt, row.ip)


class OpenMode(StrEnum):
    """How a journal is asked for a run."""

    CREATE = "create"
    """The id must be free; an existing run is an error."""
    RESTART = "restart"
    """Create, or delete the history of a run nobody executes and start again."""
    TAKE = "take"
    """The run must exist; its history stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """A request to own a run. `start` is row 0 of a run to be created (CREATE and RESTART).

    `version` is compared for TAKE, so that a run which changed hands between reading and claiming
    is refused; one that version `carries` recorded may be taken too, to be carried over.
    `lease_seconds` is how long the claim holds without a heartbeat; the store's own clock counts.
    `note` is what the caller wants to be kept beside a new run: the store's own business, which the
    runtime only hands on. `known` is the record as the caller has just read it, for TAKE: a store
    may go by it instead of reading again, if its claim fails where the record no longer stands.
    `as_known` says that a TAKE holds of that run only: one that was taken, begun anew or ended
    since is refused. `parent_token` is the token of a fork's source as the state it begins with was
    read. `wants_rows` says that a TAKE goes on from the newest state; see `Claim`.
    """

    run_id: str
    pipeline: str
    version: str
    manifest: Manifest
    owner: str
    lease_seconds: float
    mode: OpenMode
    start: Row | None = None
    parent: str | None = None
    parent_sequence: int | None = None
    parent_token: int | None = None
    step: str = ""
    note: Any = None
    carries: str = ""
    known: RunRecord | None = None
    as_known: bool = False
    wants_rows: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Proof that this execution owns a run: every commit carries the token.

    `head` and `attempt` are the run's at the moment of the claim; `previous` is the status the run
    had before it (RUNNING when a dead owner was taken over). What CREATE and RESTART give was
    QUEUED, whatever became of a former run under the id. `rows` are those from the newest full one
    to the head, where they were wanted and the journal found them with the claim; else there are
    none, and the rows are asked for.
    """

    run_id: str
    token: int
    owner: str
    attempt: int
    head: int
    lease_seconds: float
    previous: RunStatus
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """Rows to append, and what the run's record says afterwards.

    With rows, the record's version becomes that of the newest one. A `status` other than RUNNING
    ends the execution: the lease is freed in the same transaction. `step` is the key of the step
    that is due next (or failed), `error` a short summary.
    """

    rows: tuple[Row, ...]
    ip: int
    step: str
    attempt: int
    status: RunStatus = RunStatus.RUNNING
    error: str = ""


class Transactions(Protocol):
    """What a journal offers when a stage's own writes can commit together with its checkpoint."""

    def check(self, stage: str) -> None:
        """Refuse early, on the calling thread.

        Raises:
            TransactionRefusedError: with the remedy.
        """

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        """Call `work` in a transaction and commit what it asks for as its last statement.

        Raises:
            LeaseLostError: the claim is no longer valid; the transaction was rolled back.
        """


class Leasing(Protocol):
    """What a journal offers when its claims expire."""

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend the leases, blocking, in a thread of the caller's; lost ones are skipped."""

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        """Which of these runs somebody wants to be cancelled, with the reasons; blocking as well.

        Empty where the store has no way to ask for that.
        """


class Journal(Protocol):
    """An append-only log per run, under one owner at a time."""

    @property
    def snapshots_only(self) -> bool:
        """Whether every row has to be full, since the journal keeps no history."""

    @property
    def transactions(self) -> Transactions | None:
        """The transactional capability, where the store has it."""

    @property
    def leasing(self) -> Leasing | None:
        """The lease capability; None where a claim lives as long as its process."""

    def open(self, opening: Opening) -> Awaitable[Claim]:
        """Take a run (see `OpenMode`), atomically.

        A TAKE finds the newest `head` after the claim, so a row that the former owner committed at
        the last moment is seen.

        Raises:
            RunIDInUseError: somebody executes it, CREATE found it there, or it is not `as_known`.
            SourceChangedError: the source of a fork has another token than `parent_token`. Only a
                store in which recorded values can change, as where they are forgotten, has to look.
            ForeignRunError: it belongs to another pipeline; nothing was changed.
            NoCheckpointError: TAKE of an unknown run.
            CheckpointVersionError: TAKE of a run recorded by another version.
        """

    def commit(self, claim: Claim, commit: Commit) -> Awaitable[None]:
        """Append rows and move the record, proving the claim in the same transaction.

        Raises:
            LeaseLostError: the claim is no longer valid; nothing was written.
            StoreError: the store failed.
        """

    def release(self, claim: Claim) -> None:
        """Forget a claim whose execution is over, however it ended; never waits and never raises.

        Only for journals whose claims do not expire: others leave it to the lease.
        """

    async def run(self, run_id: str) -> RunRecord | None:
        """The record of a run, None where it is unknown."""

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """Rows with `first <= sequence <= last`, ascending."""

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """The sequence of the newest full row (at or before `upto`)."""

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest recorded for a version, if it is known."""


class CheckpointStore(ABC):
    """Keeps checkpoints. Four methods are enough; `journal` is for stores that can do more."""

    @abstractmethod
    async def save(self, checkpoint: Checkpoint) -> None:
        """Keep this checkpoint as the newest of its run."""

    @abstractmethod
    async def load(self, run_id: str) -> Checkpoint | None:
        """The newest checkpoint of a run, None where there is none."""

    @abstractmethod
    async def delete(self, run_id: str) -> None:
        """Forget a run; unknown ids are fine."""

    @abstractmethod
    async def exists(self, run_id: str) -> bool:
        """Whether a checkpoint of this run is kept."""

    def journal(self) -> Journal | None:
        """The store's journal, or None where it has the four methods only."""
        return None
