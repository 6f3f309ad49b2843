"""The picture of a pipeline: every stage has its place, and what became of it is marked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.test import Client

from fluxio import Context, ForkMode, Parallel, Pipeline, Send, stage
from fluxio_django import pipelines, register
from fluxio_django.admin import picture
from fluxio_django.admin.marks import StepState
from fluxio_django.admin.picture import Box, Picture, picture_of
from fluxio_django.models import Run
from tests.app.admin.desk import Confirm, address, page_of
from tests.app.admin.shop import Shop


def step(name: str) -> Any:
    def work(ctx: Context) -> Context:
        return ctx.set(name, name)

    work.__name__ = work.__qualname__ = name
    return stage(work, version="1")


@stage(version="1")
def pick(ctx: Context) -> Send:
    return Send(ctx["route"])


NAMED = [step(name) for name in ("a", "b", "c", "d", "e", "f", "g", "h")]
A, B, C, D, E, F, G, H = NAMED

SHAPES: dict[str, list[Any]] = {
    "a line": [A, B, C],
    "branches": [A, Parallel([B, [C, D]]), E],
    "routes": [pick, {"left": [A, B], "right": C}, D],
    "routes in a branch": [A, Parallel([[pick, {"left": B, "right": [C, D]}], E]), F],
    "branches in a route": [pick, {"left": [Parallel([A, B]), C], "right": D}, E],
    "background": [A, Parallel([B, C], mode=ForkMode.FIRE_FORGET), D],
    "branches in a branch": [Parallel([[Parallel([A, B]), C], D]), E],
    "an end with routes": [A, pick, {"left": B, "right": Parallel([C, D])}],
}


def drawn(nodes: list[Any]) -> Picture:
    found = picture_of(Pipeline(nodes).compiled, {})
    assert found is not None
    return found


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@pytest.mark.parametrize("nodes", SHAPES.values(), ids=SHAPES)
def test_every_stage_has_a_place_of_its_own_inside_the_picture(nodes: list[Any]) -> None:
    found = drawn(nodes)
    keys = [call.key for call in Pipeline(nodes).compiled.calls]
    assert sorted(box.key for box in found.boxes) == sorted(keys)
    for at, box in enumerate(found.boxes):
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= found.width
        assert box.y + box.height <= found.height
        assert not any(overlap(box, other) for other in found.boxes[at + 1 :])


@pytest.mark.parametrize("nodes", SHAPES.values(), ids=SHAPES)
def test_every_line_begins_and_ends_at_something(nodes: list[Any]) -> None:
    found = drawn(nodes)
    begins = {(box.x + box.width, box.y + box.height // 2) for box in found.boxes}
    ends = {(box.x, box.y + box.height // 2) for box in found.boxes}
    begins |= {(dot.x + 6, dot.y) for dot in found.dots}
    ends |= {(dot.x - 6, dot.y) for dot in found.dots}
    for line in found.lines:
        places = [(int(x), int(y)) for x, y in re.findall(r"(\d+) (\d+)", line.path)]
        assert places[0] in begins
        assert places[-1] in ends
    assert len(found.lines) >= len(found.boxes)


def test_branches_begin_beside_each_other_and_routes_have_their_names() -> None:
    boxes = {box.key.rpartition("/")[2]: box for box in drawn(SHAPES["branches"]).boxes}
    assert boxes["b"].x == boxes["c"].x
    assert boxes["b"].y != boxes["c"].y
    assert boxes["e"].x > boxes["d"].x > boxes["c"].x > boxes["a"].x
    assert {line.label for line in drawn(SHAPES["routes"]).lines} == {"", "left", "right"}
    assert any(line.background for line in drawn(SHAPES["background"]).lines)


def test_a_pipeline_that_is_too_large_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_DRAWN", 3)
    assert drawn(SHAPES["a line"])
    assert picture_of(Pipeline([A, B, C, D]).compiled, {}) is None


# --- on the page of a run


@contextmanager
def registered(nodes: list[Any]) -> Iterator[None]:
    register("shop.drawn", Pipeline(nodes, durable=True))
    try:
        yield
    finally:
        pipelines.remove("shop.drawn")


def states(client: Client, run: Run) -> dict[str, StepState]:
    page = client.get(page_of(run)).context["page"]
    return {box.key: box.mark.state for box in page.picture.boxes}


def test_the_end_is_marked_once_the_run_has_come_to_it(shop: Shop, root: Client) -> None:
    def reached(run: Run) -> list[bool]:
        return [dot.taken for dot in root.get(page_of(run)).context["page"].picture.dots]

    assert reached(shop.buy("fine")) == [True, True]
    assert reached(shop.fail("bad")) == [True, False]


def test_the_taken_path_and_the_failed_step_are_marked(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    assert states(root, run) == {
        "price": StepState.DONE,
        "charge": StepState.FAILED,
        "ship": StepState.OPEN,
    }
    lines = root.get(page_of(run)).context["page"].picture.lines
    assert [line.taken for line in lines] == [False, False, True, True]


def test_the_route_that_was_taken_is_marked_and_the_other_is_not(shop: Shop, root: Client) -> None:
    with registered(SHAPES["routes"]):
        pipelines["shop.drawn"].invoke_sync({"route": "right"}, run_id="right")
        run = Run.objects.get()
        found = {key.rpartition("/")[2]: state for key, state in states(root, run).items()}
        assert found["c"] is found["d"] is StepState.DONE
        assert found["a"] is found["b"] is StepState.OPEN
        lines = root.get(page_of(run)).context["page"].picture.lines
        assert {line.label: line.taken for line in lines if line.label} == {
            "left": False,
            "right": True,
        }


@pytest.mark.parametrize(
    ("owner", "state"), [("elsewhere:1::", StepState.CURRENT), ("", StepState.DUE)]
)
def test_the_step_that_is_under_way_is_marked(
    shop: Shop, root: Client, owner: str, state: StepState
) -> None:
    run = shop.buy("busy")
    run.checkpoints.filter(sequence__gte=2).delete()
    lease = "2999-01-01T00:00:00+00:00"
    Run.objects.update(status="running", owner=owner, lease_expires_at=lease, step="charge", head=1)
    assert states(root, run) == {
        "price": StepState.DONE,
        "charge": state,
        "ship": StepState.OPEN,
    }


def test_a_replay_from_a_step_marks_what_came_before_it_as_well(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.buy("fine")
    confirm(root, address("replay", run), from_step="charge")
    assert set(states(root, run).values()) == {StepState.DONE}
    shop.declines = True
    confirm(root, address("replay", run))
    assert states(root, run) == {
        "price": StepState.DONE,
        "charge": StepState.FAILED,
        "ship": StepState.OPEN,
    }


def test_a_step_leads_to_the_row_that_recorded_it(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    boxes = root.get(page_of(run)).context["page"].picture.boxes
    row = run.checkpoints.get(step="charge")
    assert [box.address for box in boxes][1:] == [
        f"/admin/fluxio_django/checkpoint/{row.pk}/change/",
        "",
    ]


def test_the_picture_says_in_words_what_it_shows(shop: Shop, root: Client, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    run = shop.fail("bad")
    page = root.get(page_of(run)).content.decode()
    drawings = re.findall(r"<svg width=.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 2
    for each in drawings:
        ET.fromstring(each)
    assert 'aria-label="price: done, charge: failed, ship: not run"' in drawings[0]


def test_changed_code_is_not_drawn_as_if_the_run_had_followed_it(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    shop.change_code()
    assert root.get(page_of(run)).context["page"].picture is None


# --- the timeline


def test_the_bars_of_an_attempt_lie_along_its_time(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    confirm(root, address("resume", run))
    confirm(root, address("replay", Run.objects.get()))
    first, second = root.get(page_of(run)).context["page"].timeline
    assert (first.number, second.number) == (1, 2)
    assert [bar.tone for bar in first.bars] == ["done", "failed", "done", "done"]
    for bar in (*first.bars, *second.bars):
        assert 0 <= float(bar.left) <= 100
        assert 0 < float(bar.width) <= 100
    places = [float(bar.left) for bar in second.bars]
    assert places == sorted(places)
    assert "3 steps in" in second.description


def test_bars_that_overlap_lie_in_lanes_of_their_own(shop: Shop, root: Client) -> None:
    with registered(SHAPES["branches"]):
        pipelines["shop.drawn"].invoke_sync({}, run_id="wide")
        run = Run.objects.get()
        moment = run.checkpoints.get(step="a").created_at
        run.checkpoints.exclude(step="").update(created_at=moment, duration=1.0)
        (only,) = root.get(page_of(run)).context["page"].timeline
        assert sorted(bar.top for bar in only.bars) == [0, 20, 40, 60, 80]
