"""Who waits for the database together: requests of one thread and event loop are taken in turns.

A turn is one hop to the thread. All requests that came while it was under way are the next one, and
a request that comes while nothing is under way is a turn by itself, at once. So a run that is alone
never waits for company, while many runs share hops, statements and flushes (see `together`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import Error

from fluxio.errors import FluxioError
from fluxio.runtime.settling import Unhurried
from fluxio.store.base import Claim
from fluxio_django.claims import Admission
from fluxio_django.commits import Committing
from fluxio_django.faults import Fault, fault_of, surely
from fluxio_django.tables import Tables, hop_from, workplace
from fluxio_django.together import begin_together, can_group, commit_together


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What one run wants; `check` refuses before the database is asked, by raising."""

    run_id: str
    unit: Admission | Committing
    check: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: the claim, where one was asked for, or the error."""

    claim: Claim | None = None
    error: BaseException | None = None


def in_turn(tables: Tables, request: Request) -> Unhurried[Claim | None]:
    """Have a request dealt with; the answer is the claim, where one was asked for.

    Raises:
        Exception: whatever the request comes to when it is the only one.
    """
    loop = asyncio.get_running_loop()
    place = (loop, workplace(), tables.alias)
    queue = _queues.get(place)
    answer: Unhurried[Claim | None] = Unhurried(loop=loop)
    if queue is not None:
        queue.waiting.append((request, answer))
    else:
        _forget_closed_loops()
        queue = _queues[place] = _Queue(tables, place, [(request, answer)])
        queue.start_turn()
    return answer


def _forget_closed_loops() -> None:
    """A loop that closes in the middle of a turn never hears of its end."""
    for place in list(_queues):
        if place[0].is_closed():
            _queues.pop(place, None)


_Waiting = tuple[Request, Unhurried[Claim | None]]
_Place = tuple[asyncio.AbstractEventLoop, object, str]


@dataclass(slots=True)
class _Queue:
    tables: Tables
    place: _Place
    waiting: list[_Waiting]
    turn: list[_Waiting] = field(default_factory=list)

    def start_turn(self) -> None:
        """Deal with those who wait: of many only with half, so that the others can work meanwhile.

        Runs wait for the database, or the database for runs, if all go in step.
        """
        half = max(_TOO_FEW_TO_SHARE, (len(self.turn) + len(self.waiting) + 1) // 2)
        self.turn, self.waiting = self.waiting[:half], self.waiting[half:]
        requests = [request for request, _ in self.turn]
        hop_from(self.place[0], take_turn, self.tables, requests, tell=self.end_turn)

    def end_turn(self, outcomes: Sequence[Outcome] | BaseException) -> None:
        """Tell everybody what became of it, and go on while somebody waits."""
        if isinstance(outcomes, BaseException):
            outcomes = [Outcome(error=outcomes)] * len(self.turn)
        for (_, answer), outcome in zip(self.turn, outcomes, strict=True):
            if outcome.error is None:
                answer.set_result(outcome.claim)
            else:
                answer.set_exception(_told(outcome.error))
        if self.waiting:
            self.start_turn()
        else:
            del _queues[self.place]


def _told(error: BaseException) -> BaseException:
    """The error as a future takes it: of a StopIteration it could tell nobody."""
    if not isinstance(error, StopIteration):
        return error
    told = RuntimeError("StopIteration was raised while the database was asked.")
    told.__cause__ = error
    return told


FEWEST_FOR_A_GROUP = 2
"""One run alone is cheaper by itself; only the proofs let it be a group."""

_TOO_FEW_TO_SHARE = 8

_queues: dict[_Place, _Queue] = {}
"""By loop, thread and database; only while there is work."""


def take_turn(tables: Tables, requests: Sequence[Request]) -> list[Outcome]:
    """Deal with requests on this thread: in a statement for many where it can be, else one by one.

    Only one request of each run is dealt with in a group, and what a group has not dealt with is
    asked for alone; it then fails or succeeds as if there had been no group.
    """
    done: dict[Request, Outcome] = {}
    for request in requests:
        try:
            request.check()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            done[request] = Outcome(error=error)
    if len(requests) >= FEWEST_FOR_A_GROUP:
        left = {request.run_id: request for request in requests if request not in done}
        _commit_group(tables, [it for it in left.values() if isinstance(it.unit, Committing)], done)
        _begin_group(tables, [it for it in left.values() if isinstance(it.unit, Admission)], done)
    return [done.get(request) or _alone(tables, request) for request in requests]


def _alone(tables: Tables, request: Request) -> Outcome:
    try:
        return Outcome(claim=surely(tables.alias, request.unit))
    except Exception as error:  # noqa: BLE001 - handed to whoever asked
        return Outcome(error=error)


def _commit_group(
    tables: Tables, requests: Sequence[Request], done: dict[Request, Outcome]
) -> None:
    units = {request: request.unit for request in requests if isinstance(request.unit, Committing)}
    units = {request: unit for request, unit in units.items() if len(unit.commit.rows) == 1}
    if len(units) < FEWEST_FOR_A_GROUP:
        return
    try:
        if not can_group(tables.connection):
            return
        commits = [(unit.claim, unit.commit) for unit in units.values()]
        applied = commit_together(tables.alias, tables.models, commits)
    except Exception as error:  # noqa: BLE001 - whoever has caused it is told when he is alone
        if _is_lost(tables, error):
            for unit in units.values():
                unit.answer_lost = True
        return
    done.update({request: Outcome() for request in units if request.run_id in applied})


def _begin_group(tables: Tables, requests: Sequence[Request], done: dict[Request, Outcome]) -> None:
    units = {request: request.unit for request in requests if isinstance(request.unit, Admission)}
    units = {request: unit for request, unit in units.items() if not unit.was_asked}
    if len(units) < FEWEST_FOR_A_GROUP:
        return
    try:
        if not can_group(tables.connection):
            return
        asked = {request: unit.beginning() for request, unit in units.items()}
        begun = begin_together(tables.alias, tables.models, list(asked.values()))
    except Exception as error:  # noqa: BLE001 - whoever has caused it is told when he is alone
        if not _is_lost(tables, error):
            for unit in units.values():
                unit.was_refused()
        return
    for request, beginning in asked.items():
        claim = units[request].answered(beginning, begun=request.run_id in begun)
        if claim is not None:
            done[request] = Outcome(claim=claim)


def _is_lost(tables: Tables, error: Exception) -> bool:
    """Whether a statement may have been carried out all the same; the connection is closed then.

    So it is with what comes from elsewhere: a signal may be raised in the middle of a statement.
    """
    connection = tables.connection
    match error:
        case FluxioError():
            lost = False
        case Error():
            lost = fault_of(error, connection) is Fault.LOST
        case _:
            lost = True
    if lost:
        connection.close()
    return lost
