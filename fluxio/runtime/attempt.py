"""One try of a transactional stage, and who decides whether it commits."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from fluxio.context import Context
from fluxio.nodes import Send
from fluxio.runtime.outcomes import Succeeded


class AttemptAbandoned(Exception):
    """Raised in the thread of a transactional attempt that was given up; rolls it back."""


class Attempt:
    """One try of a transactional stage, which ends in its thread by committing or by rolling back.

    Whoever comes first wins: the thread that enters the commit, or the timeout or cancellation that
    abandons the attempt. `committed` is set once the transaction is known to be durable.
    """

    def __init__(
        self,
        function: Callable[[], Context | Send],
        settle: Callable[[Context | Send], Succeeded],
    ) -> None:
        self._function = function
        self._settle = settle
        self._lock = Lock()
        self._decided = False
        self.committed = False
        self.result: Context | Send
        self.outcome: Succeeded

    def perform(self) -> Succeeded:
        """Call the stage and settle its outcome; in the thread of the transaction."""
        self.result = self._function()
        self.outcome = self._settle(self.result)
        return self.outcome

    def enter_commit(self) -> None:
        """The point of no return.

        Raises:
            AttemptAbandoned: the attempt was given up before.
        """
        if not self._decide():
            raise AttemptAbandoned

    def abandon(self) -> bool:
        """Whether the attempt was given up in time, so that it cannot commit any more."""
        return self._decide()

    def _decide(self) -> bool:
        with self._lock:
            first, self._decided = not self._decided, True
        return first
