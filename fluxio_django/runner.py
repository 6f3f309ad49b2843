"""What a worker does with a ticket: claim the run, drive it, and leave the row telling the rest."""

from __future__ import annotations

import logging
import socket
from collections import deque
from contextvars import ContextVar
from enum import StrEnum
from functools import partial

from fluxio.errors import (
    CheckpointVersionError,
    FluxioError,
    LeaseLostError,
    NoCheckpointError,
    RunCancelledError,
    RunIDInUseError,
)
from fluxio.runtime.owner import is_provably_dead
from fluxio.types import RunStatus
from fluxio_django import recovery
from fluxio_django.conf import settings
from fluxio_django.dispatch import deliver
from fluxio_django.faults import surely
from fluxio_django.limits import AtLimitError
from fluxio_django.registry import UnknownPipelineError, pipelines
from fluxio_django.tables import Tables
from fluxio_django.tickets import Standing, Ticket

logger = logging.getLogger("fluxio.worker")

_LAPSED_AT_ONCE = 10


class Executed(StrEnum):
    """What became of a ticket."""

    DONE = "done"
    """The run was executed to its end, whatever that was; the row says so."""
    NOTHING = "nothing to do"
    """The run has ended, or somebody else executes it: the ticket was a duplicate."""
    HELD_BACK = "held back"
    """The run stays as it was; its row says why."""
    BURIED = "given up"
    """The run had lost too many workers."""


def execute(run_id: str) -> Executed:
    """Execute a queued run, or take over one whose worker is gone; anything else is left alone.

    Safe to be called any number of times for the same run, by any number of workers: the row of the
    run decides. What a stage raises is recorded and logged, and not raised.

    Raises:
        StoreError: the database failed before the run was claimed; it stays as it was.
    """
    tables = Tables(settings().database)
    standing = surely(tables.alias, lambda: tables.runs.standing(run_id))
    if standing is None:
        logger.warning("Run %s is recorded no more; its ticket is dropped.", run_id)
        return Executed.NOTHING
    seen = standing.seen
    if seen.record.status is RunStatus.RUNNING:
        if seen.held and not is_provably_dead(seen.record.owner or ""):
            return Executed.NOTHING
        if seen.record.takeovers >= settings().max_takeovers:
            buried = recovery.bury_dead(tables, seen)
            return Executed.BURIED if buried else Executed.NOTHING
    elif seen.record.status is not RunStatus.QUEUED or not standing.available:
        return Executed.NOTHING
    elif standing.paused:
        return _hold_back(tables, run_id, f"Queue {standing.queue!r} is paused.")
    elif better := _outranked_by(tables, standing):
        return execute(better)
    return _drive(tables, standing)


# Set while a ticket is given back: a dispatcher that executes at once must not do the same again.
_giving_back: ContextVar[bool] = ContextVar("fluxio_giving_back", default=False)


# Lapsed runs, by id and token, that this process has tried before their tickets came: once each, or
# one that nobody can execute would keep everybody else waiting.
_taken_early: deque[tuple[str, int]] = deque(maxlen=1000)


def _outranked_by(tables: Tables, standing: Standing) -> str:
    """A run of the same queue to be executed first: one whose worker is gone, or of more priority.

    The ticket is given back then: a broker knows nothing of priorities, and puts the ticket of a
    takeover behind those of all runs that wait. "" where this one's turn has come.
    """
    if _giving_back.get():
        return ""
    lapsed = _lapsed_in(tables, standing.queue) if standing.beside_lapsed else ""
    better = lapsed or standing.outranked_by
    if not better:
        return ""
    record = standing.seen.record
    ticket = Ticket(run_id=record.run_id, queue=standing.queue, priority=standing.priority)
    token = _giving_back.set(True)
    try:
        deliver([ticket], using=tables.alias)
    finally:
        _giving_back.reset(token)
    return better


def _lapsed_in(tables: Tables, queue: str) -> str:
    find = partial(tables.runs.lapsed_in, queue, settings().max_takeovers, limit=_LAPSED_AT_ONCE)
    for run_id, token in surely(tables.alias, find):
        if (run_id, token) not in _taken_early:
            _taken_early.append((run_id, token))
            return run_id
    return ""


def _drive(tables: Tables, standing: Standing) -> Executed:
    executed = _driven(tables, standing)
    if standing.seen.record.status is RunStatus.QUEUED or executed is Executed.HELD_BACK:
        # Somebody may have been held back for this one, or the next one's time has come.
        recovery.wake(tables, standing.seen.record.pipeline)
    return executed


def _driven(tables: Tables, standing: Standing) -> Executed:
    record = standing.seen.record
    try:
        pipelines[record.pipeline].execute_sync(record)
    except AtLimitError as problem:
        surely(tables.alias, partial(tables.runs.hold_at_gate, record.run_id, str(problem)))
        return Executed.HELD_BACK
    except UnknownPipelineError:
        return _hold_back(
            tables,
            record.run_id,
            f"The code of {socket.gethostname()} knows no pipeline {record.pipeline!r}.",
        )
    except CheckpointVersionError as problem:
        return _hold_back(
            tables,
            record.run_id,
            f"The code of {socket.gethostname()} is version {problem.current}; the run needs "
            f"version {problem.stored}.",
        )
    except (RunIDInUseError, NoCheckpointError):
        return Executed.NOTHING
    except RunCancelledError as problem:
        logger.info("Run %s: %s", record.run_id, problem)
    except LeaseLostError as problem:
        logger.warning("%s", problem)
    except FluxioError as problem:
        logger.error("Run %s: %s", record.run_id, problem)
    except Exception as problem:  # noqa: BLE001 - whatever a stage raised; the row has all of it
        # As it is recorded: what is hidden there must not show in a log.
        failed = surely(tables.alias, lambda: tables.runs.seen(record.run_id))
        told = "it is recorded no more" if failed is None else failed.record.error
        told = told or f"{type(problem).__name__}, of which nothing is recorded"
        logger.error("Run %s failed: %s", record.run_id, told)
    return Executed.DONE


def _hold_back(tables: Tables, run_id: str, reason: str) -> Executed:
    surely(tables.alias, lambda: tables.runs.hold_back(run_id, reason))
    logger.info("Run %s is left for another worker: %s", run_id, reason)
    return Executed.HELD_BACK
