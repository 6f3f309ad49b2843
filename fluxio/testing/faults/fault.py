"""What can go wrong in a store, and at which of its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock


class Operation(StrEnum):
    """A call that a store answers; faults are counted over these."""

    SAVE = "save"
    LOAD = "load"
    DELETE = "delete"
    EXISTS = "exists"
    OPEN = "open"
    COMMIT = "commit"
    TRANSACTION = "transaction"
    RUN = "run"
    ROWS = "rows"
    LAST_FULL = "last_full"
    MANIFEST = "manifest"
    RENEW = "renew"


class FaultMode(StrEnum):
    """What goes wrong in a call."""

    UNAVAILABLE = "unavailable"
    """StoreUnavailableError; nothing was done."""
    TIMED_OUT = "timed_out"
    """The same after the fault's `hook`, if it has one, was awaited; nothing was done."""
    UNANSWERED = "unanswered"
    """It was done, and then StoreUnavailableError: the caller cannot know."""
    SLOW = "slow"
    """The fault's `hook` is awaited first; then the call goes on as usual."""
    STALE = "stale"
    """A read answers as it would have before the newest write to that run."""
    LEASE_LOST = "lease_lost"
    """LeaseLostError from a commit, as if somebody had taken the run over; nothing was done."""
    CORRUPT = "corrupt"
    """The newest row that is read has one wrong character; `load` raises for it."""


_READS = frozenset(
    {
        Operation.LOAD,
        Operation.EXISTS,
        Operation.RUN,
        Operation.ROWS,
        Operation.LAST_FULL,
    }
)
_COMMITS = frozenset({Operation.COMMIT, Operation.TRANSACTION})
_FITTING: dict[FaultMode, frozenset[Operation]] = {
    FaultMode.UNAVAILABLE: frozenset(Operation),
    FaultMode.TIMED_OUT: frozenset(Operation),
    FaultMode.UNANSWERED: frozenset(Operation),
    FaultMode.SLOW: frozenset(Operation) - {Operation.RENEW},
    FaultMode.STALE: _READS,
    FaultMode.LEASE_LOST: _COMMITS | {Operation.RENEW},
    FaultMode.CORRUPT: frozenset({Operation.ROWS, Operation.LOAD}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that goes wrong at one call, or from that call on.

    `call` counts from 1: the calls of `operation` where one is given, and otherwise all calls but
    RENEW, which come from a thread whenever time is up. A call that the mode does not fit (a write
    cannot be stale) goes through untouched. `hook` belongs to SLOW and TIMED_OUT.
    """

    mode: FaultMode
    call: int = 1
    operation: Operation | None = None
    forever: bool = False
    hook: Callable[[], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        if self.call < 1:
            raise ValueError(f"Calls count from 1; there is no call {self.call}.")
        if self.mode is FaultMode.SLOW and self.hook is None:
            raise ValueError("A SLOW fault needs a hook to wait for.")
        if self.mode not in (FaultMode.SLOW, FaultMode.TIMED_OUT) and self.hook is not None:
            raise ValueError(f"A fault that is {self.mode} waits for no hook.")


class Ledger:
    """Counts calls, and says which fault is due."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._lock = Lock()
        self.faults = tuple(faults)
        self.calls: list[Operation] = []
        self.fired: list[tuple[Fault, Operation]] = []

    @property
    def remembers(self) -> bool:
        """Whether the past has to be kept for stale reads."""
        return any(fault.mode is FaultMode.STALE for fault in self.faults)

    def fault_for(self, operation: Operation) -> Fault | None:
        """Count a call, and give the first fault that is due at it."""
        with self._lock:
            self.calls.append(operation)
            for fault in self.faults:
                if operation in _FITTING[fault.mode] and self._is_due(fault, operation):
                    self.fired.append((fault, operation))
                    return fault
        return None

    def _is_due(self, fault: Fault, operation: Operation) -> bool:
        if fault.operation is not None:
            counted = self.calls.count(operation) if fault.operation is operation else 0
        elif operation is Operation.RENEW:
            counted = 0
        else:
            counted = sum(call is not Operation.RENEW for call in self.calls)
        return counted == fault.call or (fault.forever and counted > fault.call)
