"""Hands events to callbacks, in order and beside the run, so that no callback can change it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from threading import Thread
from typing import Any

from fluxio.events import (
    BranchOpened,
    CheckpointSaved,
    Event,
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    StepEnded,
    StepFailed,
    StepStarted,
    StepStreamed,
)
from fluxio.observability.base import BaseCallback
from fluxio.runtime.settling import settled

logger = logging.getLogger("fluxio.callbacks")

Hook = Callable[[Any], Any]

_HOOKS: Mapping[type[Event], Callable[[BaseCallback], Hook]] = {
    PipelineStarted: lambda callback: callback.on_pipeline_start,
    PipelineEnded: lambda callback: callback.on_pipeline_end,
    StepStarted: lambda callback: callback.on_step_start,
    StepEnded: lambda callback: callback.on_step_end,
    StepStreamed: lambda callback: callback.on_step_stream,
    BranchOpened: lambda callback: callback.on_branch,
    RouteTaken: lambda callback: callback.on_route,
    StepFailed: lambda callback: callback.on_error,
    CheckpointSaved: lambda callback: callback.on_checkpoint,
}


class Publisher:
    """Delivers the events of one execution.

    Each callback has a queue and a courier of its own: a slow one delays nobody else. A callback
    that hangs longer than its `timeout` hears nothing more of this execution. Plain hooks are
    called in threads of their own, at whose end `leave_thread` is called.
    """

    def __init__(
        self, callbacks: Sequence[BaseCallback], leave_thread: Callable[[], None] = lambda: None
    ) -> None:
        self._couriers = [_Courier(callback, leave_thread) for callback in callbacks]
        self.active = bool(callbacks)

    def publish(self, event: Event) -> None:
        """Queue an event; never waits and never raises."""
        for courier in self._couriers:
            courier.accept(event)

    async def close(self) -> None:
        """Wait until everything is delivered or given up, also when the run is cancelled."""
        done = await settled(asyncio.gather(*(courier.close() for courier in self._couriers)))
        done.deliver()


class _Courier:
    def __init__(self, callback: BaseCallback, leave_thread: Callable[[], None]) -> None:
        self._callback = callback
        self._leave_thread = leave_thread
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def accept(self, event: Event) -> None:
        hook = _HOOKS[type(event)](self._callback)
        if getattr(hook, "__func__", None) is _HOOKS[type(event)](_NOBODY).__func__:  # type: ignore[attr-defined]
            return
        self._queue.put_nowait(event)
        if self._task is None:
            self._task = asyncio.ensure_future(self._deliver())

    async def close(self) -> None:
        if self._task is None:
            return
        # Couriers end by themselves: every hook is bounded, and the first hang is the last.
        self._queue.put_nowait(None)
        await self._task

    async def _deliver(self) -> None:
        while (event := await self._queue.get()) is not None:
            if not await self._call(_HOOKS[type(event)](self._callback), event):
                return

    async def _call(self, hook: Hook, event: Event) -> bool:
        """Whether the callback may hear more."""
        limit = asyncio.timeout(self._callback.timeout)
        try:
            async with limit:
                await self._started(hook, event)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            logger.exception(
                "%s was cancelled from within; run %s goes on.", _title(hook), event.run_id
            )
        except BaseException:
            if limit.expired():
                logger.error(
                    "%s took longer than %g s on %s of run %s and is given up for this execution.",
                    _title(hook),
                    self._callback.timeout,
                    type(event).__name__,
                    event.run_id,
                )
                return False
            logger.exception("%s failed; run %s goes on.", _title(hook), event.run_id)
        return True

    def _started(self, hook: Hook, event: Event) -> Awaitable[Any]:
        if inspect.iscoroutinefunction(hook):
            return hook(event)  # type: ignore[no-any-return]
        return _in_thread(hook, event, self._leave_thread)


def _in_thread(hook: Hook, event: Event, leave: Callable[[], None]) -> asyncio.Future[None]:
    """Call a plain hook in a daemon thread: it may block for ever and must not stop the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    context = copy_context()

    def tell(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            can_be_carried = isinstance(error, Exception) and not isinstance(error, StopIteration)
            done.set_exception(error if can_be_carried else RuntimeError(repr(error)))

    def work() -> None:
        error: BaseException | None = None
        try:
            context.run(hook, event)
        except BaseException as problem:  # noqa: BLE001 - handed over to the courier
            error = problem
        try:
            leave()
        except Exception:
            logger.exception("A thread of %s could not be left in order.", _title(hook))
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, error)

    Thread(target=work, name="fluxio-callback", daemon=True).start()
    return done


def _title(hook: Hook) -> str:
    owner = getattr(hook, "__self__", None)
    return f"{type(owner).__name__}.{getattr(hook, '__name__', 'hook')}"


_NOBODY = BaseCallback()
