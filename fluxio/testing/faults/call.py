"""One call that may go wrong: does what the due fault says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, assert_never

from fluxio.errors import LeaseLostError, StoreUnavailableError
from fluxio.store.base import Claim
from fluxio.testing.faults.fault import Fault, FaultMode, Ledger, Operation

Result = TypeVar("Result")


async def call(
    ledger: Ledger,
    operation: Operation,
    execute: Callable[[], Awaitable[Result]],
    *,
    claim: Claim | None = None,
    stale: Callable[[], Result] | None = None,
    spoil: Callable[[Result], Result] | None = None,
) -> Result:
    fault = ledger.fault_for(operation)
    if fault is None:
        return await execute()
    match fault.mode:
        case FaultMode.UNAVAILABLE:
            raise failure(fault, operation)
        case FaultMode.TIMED_OUT:
            if fault.hook is not None:
                await fault.hook()
            raise failure(fault, operation)
        case FaultMode.UNANSWERED:
            await execute()
            raise failure(fault, operation)
        case FaultMode.SLOW:
            assert fault.hook is not None
            await fault.hook()
            return await execute()
        case FaultMode.STALE:
            assert stale is not None
            return stale()
        case FaultMode.LEASE_LOST:
            assert claim is not None
            raise LeaseLostError(
                f"Run {claim.run_id!r} was taken over, by way of a test.",
                run_id=claim.run_id,
                token=claim.token,
            )
        case FaultMode.CORRUPT:
            assert spoil is not None
            return spoil(await execute())
        case _:
            assert_never(fault.mode)


def failure(fault: Fault, operation: Operation) -> StoreUnavailableError:
    return StoreUnavailableError(f"The store is {fault.mode} at {operation}, by way of a test.")
