"""The machine computes what is next from program, state and outcome, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from fluxio import Context, ForkMode, Parallel, Pipeline, stage
from fluxio.errors import MergeConflictError
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime import machine
from fluxio.runtime.machine import Transition


def step(name: str) -> Any:
    async def body(ctx: Context) -> Any:
        return ctx

    return stage(name=name, version="1")(body)


def compiled(*nodes: Any) -> CompiledPipeline:
    return Pipeline(list(nodes)).compiled


class Walk:
    """Moves a program on by the keys of its steps."""

    def __init__(self, *nodes: Any) -> None:
        self.program = compiled(*nodes)
        self.at: Transition = machine.begin(self.program, Context.create({"start": 1}))

    def ready(self) -> list[str]:
        return [self.program.instructions[ip].key for ip in self.at.ready]

    def waiting(self) -> list[str]:
        found = machine.ready_calls(self.program, self.at.state)
        return [self.program.instructions[ip].key for ip in found]

    def opened(self) -> list[str]:
        return [self.program.instructions[ip].key for ip in self.at.opened]

    def done(self, key: str, route: str | None = None, /, **writes: Any) -> Walk:
        ip = self.program.index[key]
        self.at = machine.succeed(self.program, self.at.state, ip, writes, route)
        return self

    def given_up(self, key: str) -> Walk:
        self.at = machine.give_up(self.program, self.at.state, self.program.index[key])
        return self

    def values(self, lane: int = MAIN_LANE) -> dict[str, Any]:
        return dict(self.at.state[lane].context)

    def finished(self) -> bool:
        return machine.is_finished(self.program, self.at.state)


def test_calls_follow_each_other_and_the_end_is_the_end() -> None:
    walk = Walk(step("a"), step("b"))
    assert walk.ready() == ["a"]
    assert not walk.finished()
    walk.done("a", x=1)
    assert (walk.ready(), walk.values()) == (["b"], {"start": 1, "x": 1})
    walk.done("b", x=2)
    assert (walk.ready(), walk.values()) == ([], {"start": 1, "x": 2})
    assert walk.finished()


def test_a_move_leaves_the_state_before_it_as_it_was() -> None:
    walk = Walk(step("a"), Parallel([step("b"), step("c")]))
    before = walk.at.state
    copy = {lane: (at.ip, dict(at.context)) for lane, at in before.items()}
    walk.done("a", x=1).done("parallel/b", y=1)
    assert {lane: (at.ip, dict(at.context)) for lane, at in before.items()} == copy


def test_branches_open_together_and_the_next_call_waits_for_all() -> None:
    walk = Walk(step("a"), Parallel([step("b"), [step("c"), step("d")]]), step("e"))
    walk.done("a")
    assert walk.ready() == ["parallel/b", "parallel/branch2/c"] or len(walk.ready()) == 2
    assert walk.opened() == ["parallel"]
    first, second = walk.ready()
    walk.done(first, b=1)
    assert (walk.ready(), walk.opened()) == ([], [])
    assert walk.waiting() == [second]
    walk.done(second, c=1)
    [third] = walk.ready()
    assert walk.values() == {"start": 1}, "branches are merged when all are there"
    walk.done(third, d=1)
    assert walk.ready() == ["e"]
    assert walk.values() == {"start": 1, "b": 1, "c": 1, "d": 1}
    assert set(walk.at.state) == {MAIN_LANE}


def test_after_a_merge_the_main_lane_has_no_writes_and_a_nested_one_keeps_them() -> None:
    inner = Parallel([step("x"), step("y")])
    walk = Walk(Parallel([[inner, step("z")], step("w")]), step("end"))
    keys = {key.rpartition("/")[2]: key for key in walk.ready()}
    walk.done(keys["x"], x=1).done(keys["y"], y=2)
    [z] = walk.ready()
    lane = walk.program.instructions[walk.program.index[z]].lane
    assert dict(walk.at.state[lane].context.writes) == {"x": 1, "y": 2}
    walk.done(z, z=3).done(keys["w"], w=4)
    assert walk.values() == {"start": 1, "x": 1, "y": 2, "z": 3, "w": 4}
    assert dict(walk.at.state[MAIN_LANE].context.writes) == {}


def test_the_route_decides_and_without_one_the_next_call_does() -> None:
    nodes = (step("pick"), {"l": [step("a")], "r": [step("b")]}, step("c"))
    assert [Walk(*nodes).done("pick", route).ready()[0] for route in ("l", "r")] == [
        "pick/l/a",
        "pick/r/b",
    ]
    walk = Walk(*nodes).done("pick", "r").done("pick/r/b")
    assert walk.ready() == ["c"]


def test_a_send_without_routes_is_no_choice() -> None:
    assert Walk(step("a"), step("b")).done("a", "whatever").ready() == ["b"]


def test_what_is_in_the_background_holds_nobody_up_and_the_run_is_open_until_it_ends() -> None:
    walk = Walk(Parallel([step("x"), step("y")], mode=ForkMode.FIRE_FORGET), step("a"))
    assert walk.ready() == ["parallel/x", "parallel/y", "a"]
    walk.done("a", a=1)
    assert not walk.finished()
    walk.done("parallel/x", x=1)
    assert not walk.finished()
    walk.done("parallel/y", y=1)
    assert walk.finished()
    assert walk.values() == {"start": 1, "a": 1}


def test_conflicting_writes_stop_the_merge_and_leave_the_branches_open() -> None:
    walk = Walk(Parallel([step("x"), step("y")]), step("a"))
    walk.done("parallel/x", same=1).done("parallel/y", same=2)
    assert walk.at.conflict is not None
    assert walk.at.conflict.ip == walk.program.index["parallel"]
    assert isinstance(walk.at.conflict.error, MergeConflictError)
    assert walk.ready() == []
    assert len(walk.at.state) == 3
    again = machine.resume(walk.program, walk.at.state)
    assert again.conflict is not None
    assert str(again.conflict.error) == str(walk.at.conflict.error)
    assert again.ready == ()
    assert again.state is walk.at.state


def test_branches_that_are_not_all_there_are_no_conflict() -> None:
    walk = Walk(Parallel([step("x"), step("y"), step("z")]))
    walk.done("parallel/x", same=1).done("parallel/y", same=2)
    assert walk.at.conflict is None
    assert machine.pending_conflict(walk.program, walk.at.state) is None


def test_branches_that_can_be_merged_are_no_conflict() -> None:
    walk = Walk(Parallel([step("x"), step("y")]))
    joins = {
        lane: at._replace(ip=walk.program.index[f"parallel/{name}/#join"])
        for lane, at, name in zip((1, 2), (walk.at.state[1], walk.at.state[2]), "xy", strict=True)
    }
    assert machine.pending_conflict(walk.program, {**walk.at.state, **joins}) is None


def test_a_fork_inside_a_fork_that_waits_is_no_conflict_and_one_beside_it_is_found() -> None:
    calm = Parallel([step("p"), step("q")])
    stuck = Parallel([step("x"), step("y")])
    walk = Walk(Parallel([[calm], [stuck], step("w")]))
    keys = {key.rpartition("/")[2]: key for key in walk.ready()}
    walk.done(keys["p"], p=1).done(keys["w"], w=1)
    assert machine.pending_conflict(walk.program, walk.at.state) is None
    walk.done(keys["x"], same=1).done(keys["y"], same=2)
    found = machine.pending_conflict(walk.program, walk.at.state)
    assert found is not None
    assert found.ip == walk.at.conflict.ip if walk.at.conflict else False
    assert "same" in str(found.error)
    resumed = machine.resume(walk.program, walk.at.state)
    assert [walk.program.instructions[ip].key for ip in resumed.ready] == [keys["q"]]
    assert resumed.opened == ()


def test_giving_up_closes_the_whole_background_branch_and_nothing_else() -> None:
    inner = Parallel([step("x"), step("y")])
    walk = Walk(
        Parallel([[inner, step("z")], step("w")], mode=ForkMode.FIRE_FORGET),
        Parallel([step("a"), step("b")]),
    )
    keys = {key.rpartition("/")[2]: key for key in walk.ready()}
    closed = machine.background_lanes(walk.program, walk.at.state, walk.program.index[keys["x"]])
    assert len(closed) == 3
    assert MAIN_LANE not in closed
    walk.given_up(keys["y"])
    assert {key.rpartition("/")[2] for key in walk.waiting()} == {"w", "a", "b"}
    assert walk.ready() == []


def test_a_background_branch_inside_another_falls_alone() -> None:
    inner = Parallel([step("x")], mode=ForkMode.FIRE_FORGET)
    walk = Walk(Parallel([[inner, step("y")]], mode=ForkMode.FIRE_FORGET), step("a"))
    keys = {key.rpartition("/")[2]: key for key in walk.ready()}
    assert set(keys) == {"x", "y", "a"}
    walk.given_up(keys["x"])
    assert {key.rpartition("/")[2] for key in walk.waiting()} == {"y", "a"}


def test_a_foreground_call_belongs_to_no_background_branch() -> None:
    walk = Walk(Parallel([step("x")], mode=ForkMode.FIRE_FORGET), Parallel([step("a"), step("b")]))
    index = walk.program.index["parallel#2/a"]
    held = machine.background_lanes(walk.program, walk.at.state, index)
    background = walk.program.instructions[walk.program.index["parallel/x"]].lane
    assert background not in held


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_run_may_begin_at_any_instruction_of_the_main_lane(start: int) -> None:
    program = compiled(step("a"), step("b"), step("c"))
    begun = machine.begin(program, Context.create({}), start)
    assert begun.ready == (start,)
    assert begun.state[MAIN_LANE].ip == start


def test_a_run_may_begin_with_branches() -> None:
    walk = Walk(Parallel([step("a"), Parallel([step("b"), step("c")])]))
    assert [key.rpartition("/")[2] for key in walk.ready()] == ["a", "b", "c"]
    assert len(walk.opened()) == 2
