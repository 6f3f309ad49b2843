"""Named moments in the life of a run, at which a test can make its process do something."""

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from threading import RLock, get_ident


class Moment(StrEnum):
    """Where an execution can be stopped."""

    IN_STAGE = "in a stage"
    BEFORE_COMMIT = "before a commit"
    IN_TRANSACTION = "in a transactional stage, before its commit"
    IN_HEARTBEAT = "in the heartbeat"
    BETWEEN_COMMITS = "between two commits"
    BEFORE_CLAIM = "between looking at a run and claiming it"
    AFTER_CLAIM = "after claiming a run"
    BEFORE_RENEWAL = "before a lease is renewed"
    INSIDE_CLAIM = "in the middle of a claim"
    INSIDE_COMMIT = "in the middle of a commit"
    INSIDE_RENEWAL = "in the middle of a renewal"


_armed: dict[Moment, list[Callable[[], None]]] = {}


def arm(moment: Moment, act: Callable[[], None], times: int = 1) -> None:
    """Do something when a moment is reached, for the first so many times."""
    _armed[moment] = [act] * times


def reach(moment: Moment) -> None:
    """Say that a moment has come."""
    acts = _armed.get(moment)
    if acts:
        acts.pop()()


undisturbed = RLock()
"""Held while a heartbeat or a lookout asks the store: a test chooses the moment, and not they."""


def stop() -> None:
    """Freeze this process, with all its threads, until somebody continues it."""
    with undisturbed:
        stop_at_once()


def stop_at_once() -> None:
    """Do the same whatever the heartbeat does; it may be waiting for what this thread holds.

    The signal goes to this thread: one to the process would be for the main thread to act upon, and
    this one would run on until it does, perhaps into a lock of the database.
    """
    signal.pthread_kill(get_ident(), signal.SIGSTOP)


def die() -> None:
    """End this process as nothing can catch it."""
    os.kill(os.getpid(), signal.SIGKILL)
