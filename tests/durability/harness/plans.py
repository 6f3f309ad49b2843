"""Pipelines as data: what is built of them, and what a run of them has to come to."""

import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never

from fluxio import Context, ForkMode, Parallel, Pipeline, Send, current_step, stage
from fluxio.nodes import RetryPolicy
from fluxio.runtime.loopless import in_loop
from fluxio.verification import EffectKind
from tests.durability.harness.effects import EFFECTS
from tests.durability.harness.moments import Moment, reach

INITIAL: Mapping[str, Any] = {
    "amount": Decimal("12.30"),
    "due": date(2026, 11, 23),
    "asked_at": datetime(2026, 11, 23, 10, 30, tzinfo=UTC),
    "pair": (1, "two"),
    "tags": frozenset({"new", "paid"}),
    "raw": b"\x00\xff",
    "ratio": 0.1,
    "note": "ünïcödé \x00 \ud800",
}
"""What every run begins with: values that a careless codec would change."""

CHUNKS = 3
PRICE = 7
"""What one transactional step books."""

Book = Callable[[str, str, int], None]
"""Writes to the ledger, in whatever transaction is open: run id, step key, amount."""


class Kind(StrEnum):
    """What a step is made of."""

    ASYNC = "async"
    PLAIN = "plain"
    BOOKING = "booking"
    """Transactional; writes to the ledger."""
    FLAKY = "flaky"
    """Fails at its first try in each execution, and is tried again."""
    STREAM = "stream"


@dataclass(frozen=True)
class Step:
    """One stage."""

    name: str
    kind: Kind = Kind.ASYNC


@dataclass(frozen=True)
class Fan:
    """Branches that run side by side."""

    name: str
    branches: Sequence[Sequence["Node"]]
    background: bool = False


@dataclass(frozen=True)
class Choice:
    """A router that chooses at random, and the bodies of its routes."""

    name: str
    routes: Mapping[str, Sequence["Node"]]
    kind: Kind = Kind.ASYNC


@dataclass(frozen=True)
class Inner:
    """A pipeline in a pipeline."""

    name: str
    nodes: Sequence["Node"]


Node = Step | Fan | Choice | Inner


@dataclass(kw_only=True)
class Expected:
    """What a run that went through a plan has recorded, given what its routers chose.

    `booking` are those of its steps that write to the ledger.
    """

    values: dict[str, Any]
    steps: set[str] = field(default_factory=set)
    booking: set[str] = field(default_factory=set)


# --- what is built


def build(plan: Sequence[Node], book: Book | None) -> list[Any]:
    """The nodes of a pipeline; without a ledger nothing is transactional."""
    nodes: list[Any] = []
    for node in plan:
        match node:
            case Step():
                nodes.append(_stage(node, book))
            case Fan():
                mode = ForkMode.FIRE_FORGET if node.background else ForkMode.PARALLEL
                branches = [build(branch, book) for branch in node.branches]
                nodes.append(Parallel(branches, mode=mode, name=node.name))
            case Choice():
                bodies = {route: build(body, book) for route, body in node.routes.items()}
                nodes += [_router(node), bodies]
            case Inner():
                nodes.append(Pipeline(build(node.nodes, book), name=node.name))
            case _:
                assert_never(node)
    return nodes


def _stage(step: Step, book: Book | None) -> Any:
    match step.kind:
        case Kind.ASYNC:
            return stage(name=step.name, version="1")(_asynchronous(step.name))
        case Kind.FLAKY:
            again = RetryPolicy(max_attempts=2, base_delay=0.0)
            return stage(name=step.name, version="1", retry=again)(_flaky(step.name))
        case Kind.STREAM:
            return stage(name=step.name, version="1")(_streaming(step.name))
        case Kind.BOOKING if book is not None:
            booking = _booking(step.name, book)
            return stage(name=step.name, version="1", transactional=True)(booking)
        case Kind.PLAIN | Kind.BOOKING:
            return stage(name=step.name, version="1")(_plain(step.name))
        case _:
            assert_never(step.kind)


def _asynchronous(name: str) -> Callable[[Context], Any]:
    async def work(ctx: Context) -> Context:
        return _worked(name, ctx)

    return work


def _plain(name: str) -> Callable[[Context], Any]:
    def work(ctx: Context) -> Context:
        return _worked(name, ctx)

    return work


def _flaky(name: str) -> Callable[[Context], Any]:
    async def work(ctx: Context) -> Context:
        if current_step().attempt == 1:
            EFFECTS.note_step(EffectKind.STARTED)
            raise ConnectionError("not at the first try")
        return _worked(name, ctx)

    return work


def _booking(name: str, book: Book) -> Callable[[Context], Any]:
    def work(ctx: Context) -> Context:
        step = current_step()
        EFFECTS.note_step(EffectKind.STARTED)
        book(step.run_id, step.key, PRICE)
        EFFECTS.note_step(EffectKind.ACTED)
        reach(Moment.IN_TRANSACTION)
        return ctx.set(name, mark(name, ctx))

    return work


def _streaming(name: str) -> Callable[[Context], Any]:
    async def work(ctx: Context) -> Any:
        EFFECTS.note_step(EffectKind.STARTED)
        for number in range(CHUNKS):
            yield f"{name}-{number}"
        EFFECTS.note_step(EffectKind.ACTED)

    return work


def _router(choice: Choice) -> Any:
    names = sorted(choice.routes)

    def chosen(ctx: Context) -> Send:
        EFFECTS.note_step(EffectKind.STARTED)
        EFFECTS.note_step(EffectKind.ACTED)
        return Send(secrets.choice(names), {choice.name: mark(choice.name, ctx)})

    async def choose(ctx: Context) -> Send:
        return chosen(ctx)

    function = chosen if choice.kind is Kind.PLAIN else choose
    return stage(name=choice.name, version="1")(function)


def _worked(name: str, ctx: Context) -> Context:
    EFFECTS.note_step(EffectKind.STARTED)
    reach(Moment.IN_STAGE)
    EFFECTS.note_step(EffectKind.ACTED)
    return ctx.set(name, mark(name, ctx))


def refuse_loops(book: Book) -> Book:
    """A ledger that is only written to where no event loop runs."""

    def write(run_id: str, step: str, amount: int) -> None:
        if in_loop():
            raise AssertionError("A plain pipeline is meant to run without an event loop.")
        book(run_id, step, amount)

    return write


# --- what has to come out


def mark(name: str, values: Mapping[str, Any]) -> Decimal:
    """A value that shows by which step it was set, and that all it could read was in order."""
    seen = sorted((key, _spelled(value)) for key, value in values.items())
    return Decimal(zlib.crc32(repr((name, seen)).encode("utf-8", "backslashreplace"))) / 100


def _spelled(value: Any) -> str:
    return repr(sorted(value)) if isinstance(value, frozenset) else repr(value)


def expect(plan: Sequence[Node], routes: Mapping[str, str]) -> Expected:
    """What a run comes to; `routes` says what each router chose, by its step key."""
    expected = Expected(values=dict(INITIAL))
    expected.values = _follow(plan, expected.values, "", routes, expected)
    return expected


def _follow(
    plan: Sequence[Node],
    values: dict[str, Any],
    prefix: str,
    routes: Mapping[str, str],
    expected: Expected,
) -> dict[str, Any]:
    """The values after a body; steps and bookings are collected on the way."""
    for node in plan:
        key = f"{prefix}{node.name}"
        match node:
            case Step():
                values = _after(node, key, values, expected)
            case Fan():
                ends = [_follow(b, values, f"{key}/", routes, expected) for b in node.branches]
                if not node.background:
                    values = values | {k: v for end in ends for k, v in end.items()}
            case Choice():
                expected.steps.add(key)
                values = values | {node.name: mark(node.name, values)}
                route = routes[key]
                body = node.routes[route]
                values = _follow(body, values, f"{key}/{route}/", routes, expected)
            case Inner():
                values = _follow(node.nodes, values, f"{key}/", routes, expected)
            case _:
                assert_never(node)
    return values


def _after(step: Step, key: str, values: Mapping[str, Any], expected: Expected) -> dict[str, Any]:
    expected.steps.add(key)
    if step.kind is Kind.BOOKING:
        expected.booking.add(key)
    if step.kind is Kind.STREAM:
        chunks = [f"{step.name}-{number}" for number in range(CHUNKS)]
        return {**values, f"{step.name}_stream_result": chunks}
    return {**values, step.name: mark(step.name, values)}


def all_steps(plan: Sequence[Node]) -> Iterator[Step]:
    """Every step of a plan, on every route."""
    for node in plan:
        match node:
            case Step():
                yield node
            case Fan():
                for branch in node.branches:
                    yield from all_steps(branch)
            case Choice():
                for body in node.routes.values():
                    yield from all_steps(body)
            case Inner():
                yield from all_steps(node.nodes)
            case _:
                assert_never(node)
