"""What to do next, and the state after it: pure functions of program, state and outcome.

A state maps each open lane to where it stands and the context it has there. Lane 0 is the run
itself; a Fork opens one lane per branch and they vanish when their writes are merged. No I/O, no
clock, no logging here: everything that happens to a run can be computed again from its recorded
outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, assert_never

from fluxio.context import Context
from fluxio.errors import MergeConflictError
from fluxio.nodes import ForkMode
from fluxio.program import MAIN_LANE, Call, CompiledPipeline, End, Fork, Join


class Position(NamedTuple):
    """Where a lane stands: the number of its instruction, and its context before it."""

    ip: int
    context: Context


State = Mapping[int, Position]


class Conflict(NamedTuple):
    """A merge that cannot be done: the Fork whose branches wrote the same keys."""

    ip: int
    error: MergeConflictError


class Transition(NamedTuple):
    """The state after an outcome, the CALLs that are ready now, the Forks that were opened."""

    state: State
    ready: tuple[int, ...]
    opened: tuple[int, ...] = ()
    conflict: Conflict | None = None


def begin(program: CompiledPipeline, context: Context, ip: int = 0) -> Transition:
    """The first move of a run: enter the program at an instruction of the main lane."""
    return _advance(program, {}, MAIN_LANE, Position(ip, context))


def resume(program: CompiledPipeline, state: State) -> Transition:
    """The move that goes on from a recorded state."""
    return Transition(state, ready_calls(program, state), (), pending_conflict(program, state))


def succeed(
    program: CompiledPipeline, state: State, ip: int, writes: Mapping[str, Any], route: str | None
) -> Transition:
    """The CALL at `ip` gave these writes; a router also chose a route of its instruction."""
    call = program.instructions[ip]
    assert isinstance(call, Call)
    context = state[call.lane].context.extended(writes, tracked=call.lane != MAIN_LANE)
    target = call.next if route is None or call.routes is None else call.routes[route]
    return _advance(program, state, call.lane, Position(target, context))


def give_up(program: CompiledPipeline, state: State, ip: int) -> Transition:
    """Something failed inside a FIRE_FORGET branch: close that branch and all it opened."""
    closed = background_lanes(program, state, ip)
    return Transition({lane: at for lane, at in state.items() if lane not in closed}, ())


def background_lanes(program: CompiledPipeline, state: State, ip: int) -> frozenset[int]:
    """The open lanes that stand or fall together with the background instruction at `ip`."""
    root = _background_root(program, program.instructions[ip].lane)
    return frozenset(
        lane for lane in state if lane != MAIN_LANE and _background_root(program, lane) == root
    )


def ready_calls(program: CompiledPipeline, state: State) -> tuple[int, ...]:
    """Every CALL that a recorded state is waiting for."""
    return tuple(at.ip for at in state.values() if isinstance(program.instructions[at.ip], Call))


def pending_conflict(program: CompiledPipeline, state: State) -> Conflict | None:
    """The merge on which a recorded state is stuck, if any."""
    for at in state.values():
        fork = program.instructions[at.ip]
        if not isinstance(fork, Fork):
            continue
        branches = [state.get(branch.lane) for branch in fork.branches]
        if all(_joined(program, branch) for branch in branches):
            merged = _merge(at, at.ip, [branch for branch in branches if branch])
            if isinstance(merged, Conflict):
                return merged
    return None


def is_finished(program: CompiledPipeline, state: State) -> bool:
    """Whether the run has reached its end and no background branch is open."""
    return len(state) == 1 and isinstance(program.instructions[state[MAIN_LANE].ip], End)


def _background_root(program: CompiledPipeline, lane: int) -> int | None:
    """The FIRE_FORGET branch that a lane belongs to: the nearest one above it, or itself."""
    current: int | None = lane
    while current is not None:
        opener = program.lanes[current].fork
        fork = program.instructions[opener] if opener is not None else None
        if isinstance(fork, Fork) and fork.mode is ForkMode.FIRE_FORGET:
            return current
        current = program.lanes[current].parent
    return None


def _advance(program: CompiledPipeline, state: State, lane: int, at: Position) -> Transition:
    """Move lanes on until each stands before a CALL, waits for branches, or is at its end."""
    instruction = program.instructions[at.ip]
    if isinstance(instruction, Call):
        return Transition({**state, lane: at}, (at.ip,))
    lanes: dict[int, Position] = dict(state)
    moves: list[tuple[int, Position]] = [(lane, at)]
    ready: list[int] = []
    opened: list[int] = []
    while moves:
        lane, at = moves.pop(0)
        lanes[lane] = at
        instruction = program.instructions[at.ip]
        match instruction:
            case Call():
                ready.append(at.ip)
            case Fork():
                opened.append(at.ip)
                moves += _opened(instruction, at.context)
                if instruction.mode is ForkMode.FIRE_FORGET:
                    moves.append((lane, Position(instruction.next, at.context)))
            case Join():
                moved = _join(program, lanes, instruction)
                if isinstance(moved, Conflict):
                    return Transition(lanes, tuple(ready), tuple(opened), moved)
                moves += moved
            case End():
                pass
            case _:
                assert_never(instruction)
    return Transition(lanes, tuple(ready), tuple(opened))


def _opened(fork: Fork, context: Context) -> list[tuple[int, Position]]:
    return [(b.lane, Position(b.entry, context.fork(b.name))) for b in fork.branches]


def _join(
    program: CompiledPipeline, lanes: dict[int, Position], join: Join
) -> list[tuple[int, Position]] | Conflict:
    fork = program.instructions[join.fork]
    assert isinstance(fork, Fork)
    if fork.mode is ForkMode.FIRE_FORGET:
        del lanes[join.lane]
        return []
    branches = [lanes.get(branch.lane) for branch in fork.branches]
    if not all(_joined(program, branch) for branch in branches):
        return []
    parent = lanes[fork.lane]
    merged = _merge(parent, join.fork, [branch for branch in branches if branch])
    if isinstance(merged, Conflict):
        return merged
    for branch in fork.branches:
        del lanes[branch.lane]
    context = merged.settled() if fork.lane == MAIN_LANE else merged
    return [(fork.lane, Position(fork.next, context))]


def _joined(program: CompiledPipeline, branch: Position | None) -> bool:
    return branch is not None and isinstance(program.instructions[branch.ip], Join)


def _merge(parent: Position, fork: int, branches: Sequence[Position]) -> Context | Conflict:
    try:
        merged = Context.merge(parent.context, [branch.context for branch in branches])
    except MergeConflictError as error:
        return Conflict(fork, error)
    return merged
