"""What is around the core, a web framework for instance, and is set up when the core is first used.

Doing so as late as that keeps the core out of processes that only start and look, such as most
commands of a project.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

SetUp = Callable[[], None]

_waiting: list[SetUp] = []
_lock = RLock()
_busy = False


def set_up_at_first_use(set_up: SetUp) -> None:
    """Have something done once, before contexts are encoded or runs are executed."""
    _waiting.append(set_up)


def set_up() -> None:
    """Do what was waiting for the first use; other threads wait until all of it is done."""
    global _busy
    if not _waiting:
        return
    with _lock:
        if _busy:  # what is being set up uses the core itself
            return
        _busy = True
        try:
            while _waiting:
                _waiting[0]()
                del _waiting[0]
        finally:
            _busy = False
