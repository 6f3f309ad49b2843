"""The one tree of errors that fluxio raises; each carries its facts as attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


class FluxioError(Exception):
    """Something fluxio was asked to do cannot be done.

    Every keyword given to the constructor becomes an attribute, so handlers read facts instead of
    parsing messages. All errors of the tree survive pickling.
    """

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message)
        self.__dict__.update(details)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ConfigurationError(FluxioError):
    """The set-up cannot work: an option, an extra or a store is missing or wrong."""


class CompilationError(FluxioError):
    """The nodes given to a pipeline do not form a program."""


class InvalidRunIDError(FluxioError, ValueError):
    """A run id is not 1 to 128 printable ASCII characters without spaces."""

    run_id: str


class StageResultError(FluxioError, TypeError):
    """A stage, or a middleware, returned something that is neither a `Context` nor a `Send`."""

    stage: str


class RoutingError(FluxioError):
    """A router chose an unknown route, chose none, or a `Send` has no routes behind it."""

    router: str
    route: str | None
    known: Sequence[str]


class ValidationError(FluxioError):
    """A context does not fit a stage's schema. Input values are never part of the message.

    `fields` maps the dotted path of each offending field to what is wrong with it.
    """

    stage: str
    fields: Mapping[str, str]


class MutationError(FluxioError):
    """A stage changed a context value in place instead of setting a new one."""

    stage: str
    key: str


class MergeConflictError(FluxioError):
    """Two branches of one Parallel wrote the same key."""

    conflicting_keys: tuple[str, ...]
    branch_names: tuple[str, ...]


class DeclaredConflictError(CompilationError, MergeConflictError):
    """Two branches of one Parallel declare that they write the same key."""


class StageTimeoutError(FluxioError, TimeoutError):
    """One attempt of a stage took longer than its `timeout` (seconds)."""

    stage: str
    timeout: float


class CircuitOpenError(FluxioError):
    """The circuit breaker of a stage is open; `retry_after` is in seconds."""

    stage: str
    retry_after: float


class EncodingError(FluxioError):
    """A value cannot be stored without loss; `path` says which one."""

    path: str


class DecodingError(FluxioError):
    """A stored or received text does not decode to values."""

    path: str


class NoCheckpointError(FluxioError, KeyError):
    """No run with this id is recorded."""

    run_id: str


class CorruptCheckpointError(FluxioError):
    """A recorded row is damaged, swapped, truncated or written by a newer release."""

    run_id: str
    sequence: int
    reason: str


class CheckpointVersionError(FluxioError):
    """A run was recorded by other code than the code at hand.

    `stored` and `current` are version hashes; `changes` has a line for each stage that was added,
    removed, moved or changed.
    """

    run_id: str
    stored: str
    current: str
    changes: tuple[str, ...]


class RunIDInUseError(FluxioError):
    """The run id cannot be taken: it is being executed, or the policy refuses an existing run."""

    run_id: str
    owner: str | None
    lease_expires_at: datetime | None


class ForeignRunError(RunIDInUseError):
    """The run id belongs to another pipeline; nothing was changed."""

    pipeline: str


class RunCancelledError(FluxioError):
    """The run was cancelled; what was recorded stays, and it can be resumed."""

    run_id: str
    reason: str


class RunFailedError(FluxioError):
    """A run that was waited for has failed, or was given up; `error` is what is recorded of it."""

    run_id: str
    error: str


class LeaseLostError(FluxioError):
    """This process no longer owns the run: its lease expired and somebody else took over."""

    run_id: str
    token: int


class StoreError(FluxioError):
    """The checkpoint store failed; what was recorded before is untouched.

    `sequence` is the number of the row that the store refuses, where it can tell.
    """

    sequence: int | None = None


class StoreUnavailableError(StoreError):
    """The checkpoint store could not be asked just now, and may answer again later.

    It never fails a run: the run stays as it was recorded, and whoever takes it over when the lease
    has ended goes on with it.
    """


class SourceChangedError(StoreError):
    """A fork's source was changed, as by forgetting, since its state was read; it made no run."""


class TransactionRefusedError(ConfigurationError):
    """A transactional stage cannot commit together with its checkpoint in this set-up."""

    stage: str
