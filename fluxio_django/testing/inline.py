"""Executes what a test enqueues inside of the test's own transaction, which is never committed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Q
from django.test import override_settings

from fluxio.types import RunStatus
from fluxio_django import recovery
from fluxio_django.clock import DatabaseTime
from fluxio_django.conf import settings
from fluxio_django.models import Run
from fluxio_django.runner import execute

_OURS = "fluxio_django.dispatch"


class InlineRuns:
    """While the `with` block lasts, an enqueued run is executed as soon as it would be dispatched.

    In production that is after the commit. A test that is wrapped in a transaction never commits,
    so here it is when the outermost `atomic()` block of the code under test has ended well, and at
    once where there is none. After a rollback nothing is executed, as ever. Other `on_commit`
    functions are left to Django, whose `captureOnCommitCallbacks` runs them.

    Runs are executed on this thread, one after another; what a stage raises stands in the run and
    is raised by `handle.result()`. A run with a countdown waits for `sweep`, by the
    clock of the database, which `DurableClock` moves.
    """

    def __init__(self) -> None:
        self._undo = ExitStack()
        self._busy = False

    def __enter__(self) -> Self:
        given = getattr(django_settings, "FLUXIO", {})
        self._undo.enter_context(override_settings(FLUXIO={**given, "DISPATCHER": "eager"}))
        self._connection = connections[settings().database]
        self._after("on_commit")
        self._after("savepoint_commit")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def sweep(self) -> recovery.Swept:
        """Execute what is due by now, and take over what was lost, as workers and the sweep do."""
        due = Q(available_at=None) | Q(available_at__lte=DatabaseTime())
        queued = Run.objects.using(self._connection.alias).filter(due, status=RunStatus.QUEUED)
        for run_id in list(queued.order_by("available_at", "id").values_list("run_id", flat=True)):
            execute(run_id)
        swept = recovery.sweep()
        self._execute()
        return swept

    def _after(self, method: str) -> None:
        """Look for runs to execute after each call of a method of the connection."""
        original: Callable[..., None] = getattr(self._connection, method)

        def followed(*args: Any, **kwargs: Any) -> None:
            original(*args, **kwargs)
            self._execute()

        setattr(self._connection, method, followed)
        # What was found on the class is found there again.
        self._undo.callback(delattr, self._connection, method)

    def _execute(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while (dispatch := self._next()) is not None:
                dispatch()
        finally:
            self._busy = False

    def _next(self) -> Callable[[], object] | None:
        """Take the next dispatch out of what waits for a commit, unless the code is in a block."""
        blocks: list[Any] = self._connection.atomic_blocks
        if blocks and not blocks[-1]._from_testcase:
            return None
        # The functions come with the savepoints they depend on; a rollback takes them out.
        waiting: list[Any] = self._connection.run_on_commit
        for index, (_, function, *_) in enumerate(waiting):
            if getattr(function, "func", function).__module__.startswith(_OURS):
                del waiting[index]
                found: Callable[[], object] = function
                return found
        return None
