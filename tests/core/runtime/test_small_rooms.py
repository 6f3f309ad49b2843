"""Single steps, watched values, schemas, streams and couriers, where they meet odd guests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxio import (
    BaseCallback,
    Context,
    Pipeline,
    Send,
    TransactionRefusedError,
    ValidationError,
    stage,
)
from fluxio.events import StepEnded
from fluxio.nodes import Stage
from fluxio.runtime.executor import Executor
from fluxio.runtime.mutation import Watch
from fluxio.runtime.publisher import Publisher
from fluxio.runtime.schemas import validate
from fluxio.runtime.streaming import BUFFERED_CHUNKS, stream_chunks


@stage(version="1")
async def plain(ctx: Context) -> Context:
    return ctx.set("plain", ctx.get("given"))


# --- one step by itself


async def test_a_single_step_gives_its_context_with_its_writes() -> None:
    after = await Pipeline([plain]).run_step("plain", Context.create({"given": 1}))
    assert dict(after) == {"given": 1, "plain": 1}
    assert dict(after.writes) == {"plain": 1}


async def test_a_single_step_makes_a_context_of_plain_values() -> None:
    after = await Pipeline([plain]).run_step("plain", {"given": 1})
    assert dict(after.writes) == {"plain": 1}


async def test_a_single_step_refuses_what_is_no_mapping() -> None:
    with pytest.raises(TypeError, match="mapping"):
        await Pipeline([plain]).run_step("plain", [1])  # type: ignore[arg-type]


async def test_a_single_router_gives_its_patch() -> None:
    @stage
    async def pick(ctx: Context) -> Send:
        return Send("a", {"picked": True})

    pipeline = Pipeline([pick, {"a": [plain]}])
    assert dict((await pipeline.run_step("pick", Context.create({}))).writes) == {"picked": True}


async def test_a_single_step_raises_what_its_stage_raised() -> None:
    @stage
    async def broken(ctx: Context) -> Context:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await Pipeline([broken]).run_step("broken", Context.create({}))


async def test_a_single_stream_is_read_by_nobody_and_kept_all_the_same() -> None:
    @stage
    async def tokens(ctx: Context) -> AsyncIterator[int]:
        yield 1
        yield 2

    after = await Pipeline([tokens]).run_step("tokens", Context.create({}))
    assert after["tokens_stream_result"] == [1, 2]


async def test_a_single_transactional_step_has_no_checkpoint_to_commit_with() -> None:
    @stage(transactional=True)
    def book(ctx: Context) -> Context:
        raise AssertionError("never called")

    with pytest.raises(TransactionRefusedError, match="outside of a run"):
        await Pipeline([book]).run_step("book", Context.create({}))


# --- watched values


class Copied(Exception):
    """What a value raises that will not be copied."""


class Uncopied:
    def __deepcopy__(self, memo: Any) -> Any:
        raise Copied


def test_what_cannot_be_copied_is_not_watched() -> None:
    watch = Watch(Context.create({"odd": Uncopied(), "lock": threading.Lock(), "fine": [1]}))
    watch.check("stage")
    assert set(watch._live) == {"fine"}


# --- schemas


class Strange:
    """A schema of another library: its errors have no list of fields, or an odd one."""

    def __init__(self, errors: Any) -> None:
        self.errors = errors

    def model_validate(self, values: Any) -> Any:
        problem = ValueError("secret input")
        if self.errors is not None:
            problem.errors = self.errors  # type: ignore[attr-defined]
        raise problem


@pytest.mark.parametrize(
    ("errors", "fields"),
    [
        (None, {"(context)": "ValueError"}),
        ("no function", {"(context)": "ValueError"}),
        (lambda: 7, {"(context)": "ValueError"}),
        (lambda: [{"loc": ("a", 0), "msg": "bad", "type": "int"}], {"a.0": "int"}),
        (lambda: [{"loc": (), "type": "missing"}], {"(context)": "Field required"}),
        (lambda: ["secret input"], {"(context)": "ValueError"}),
        (lambda: [{"loc": 7, "type": "int"}], {"(context)": "ValueError"}),
        (lambda: 1 / 0, {"(context)": "ValueError"}),
        (lambda: [{}], {"(context)": "invalid"}),
        (
            lambda: [{"loc": ("a",), "msg": "secret input", "type": "value_error"}],
            {"a": "value_error"},
        ),
    ],
)
def test_whatever_a_schema_raises_is_a_validation_error_without_values(
    errors: Any, fields: dict[str, str]
) -> None:
    made: Stage = plain
    with pytest.raises(ValidationError) as caught:
        validate(made, Strange(errors), Context.create({}), "input")  # type: ignore[arg-type]
    assert caught.value.fields == fields
    assert "secret input" not in str(caught.value)
    assert "The input of stage 'plain' does not fit Strange" in str(caught.value)


def test_without_a_schema_everything_fits() -> None:
    validate(plain, None, Context.create({}), "input")


# --- streams


@pytest.mark.parametrize("count", [0, 1, BUFFERED_CHUNKS, BUFFERED_CHUNKS + 1])
async def test_every_chunk_arrives_before_the_end_of_a_run_that_is_ahead(count: int) -> None:
    ended = asyncio.Event()

    async def start(sink: Any) -> None:
        for number in range(count):
            await sink(number)
        ended.set()

    chunks = stream_chunks(start)
    got = []
    async for chunk in chunks:
        if count <= BUFFERED_CHUNKS:
            await ended.wait()
        got.append(chunk)
    assert got == list(range(count))


# --- couriers


def ended(name: str = "plain") -> StepEnded:
    return StepEnded(
        run_id="r",
        pipeline="p",
        step=name,
        stage=name,
        branch="",
        context=Context.create({}),
        tries=1,
        duration=0.0,
    )


async def test_a_callback_that_listens_to_nothing_costs_no_task() -> None:
    publisher, before = Publisher([BaseCallback()]), asyncio.all_tasks()
    publisher.publish(ended())
    assert asyncio.all_tasks() == before
    await publisher.close()


async def test_a_callback_that_is_given_up_hears_nothing_of_what_is_queued() -> None:
    heard: list[str] = []

    class Hanging(BaseCallback):
        timeout = 0.01

        async def on_step_end(self, event: StepEnded) -> None:
            heard.append(event.step)
            await asyncio.Event().wait()

    publisher = Publisher([Hanging()])
    for name in ("a", "b"):
        publisher.publish(ended(name))
    await publisher.close()
    assert heard == ["a"]


async def test_a_courier_that_is_cancelled_from_outside_ends() -> None:
    class Waiting(BaseCallback):
        async def on_step_end(self, event: StepEnded) -> None:
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    publisher = Publisher([Waiting()])
    publisher.publish(ended())
    [courier] = asyncio.all_tasks() - before
    for _ in range(3):
        await asyncio.sleep(0)
    courier.cancel()
    await asyncio.wait({courier})
    assert courier.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await publisher.close()


async def test_a_plain_hook_that_ends_after_it_was_given_up_is_not_waited_for() -> None:
    release, left = threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Slow(BaseCallback):
        timeout = 0.01

        def on_step_end(self, event: StepEnded) -> None:  # type: ignore[override]
            release.wait(5)
            loop.call_soon_threadsafe(left.set)

    publisher = Publisher([Slow()])
    publisher.publish(ended())
    await publisher.close()
    release.set()
    await asyncio.to_thread(left.wait, 5)
    # The thread tells its end to a loop where nobody waits for it any more.
    for _ in range(3):
        await asyncio.to_thread(lambda: None)


class Outcome(BaseException):
    """What test frameworks raise, so that no code under test catches it."""


@pytest.mark.parametrize("kind", [StopIteration, SystemExit, asyncio.CancelledError, Outcome])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_a_hook_may_raise_whatever_it_likes(
    kind: type[BaseException], plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def raises(self: Any, event: StepEnded) -> None:
        heard.append(event.step)
        raise kind

    async def raises_later(self: Any, event: StepEnded) -> None:
        raises(self, event)

    hook = raises if plain else raises_later
    odd = type("Odd", (BaseCallback,), {"on_step_end": hook})()
    hook.__name__ = "on_step_end"
    publisher = Publisher([odd])
    publisher.publish(ended("a"))
    publisher.publish(ended("b"))
    await publisher.close()
    assert heard == ["a", "b"]
    assert "Odd.on_step_end" in caplog.text
    assert "run r goes on." in caplog.text


@pytest.mark.parametrize("fails", [True, False])
async def test_the_thread_of_a_plain_hook_is_left_in_order(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[int] = []

    class Plain(BaseCallback):
        def on_step_end(self, event: StepEnded) -> None:  # type: ignore[override]
            left.append(-threading.get_ident())

    def leave() -> None:
        left.append(threading.get_ident())
        if fails:
            raise OSError("the door is stuck")

    publisher = Publisher([Plain()], leave)
    publisher.publish(ended())
    await publisher.close()
    assert len(left) == 2
    assert sum(left) == 0
    assert ("the door is stuck" in caplog.text) is fails


@pytest.mark.parametrize("wrong", ["5", True, None])
def test_a_callback_whose_timeout_is_no_number_of_seconds_is_refused(wrong: Any) -> None:
    odd = BaseCallback()
    odd.timeout = wrong
    with pytest.raises(TypeError, match="is a number of seconds"):
        Pipeline([plain], callbacks=[odd])


def test_chains_of_middleware_are_put_together_once() -> None:
    async def around(stage: Any, context: Context, call_next: Any) -> Any:
        return await call_next(context)

    pipeline = Pipeline([plain], middleware=[around])
    executor = Executor(pipeline.compiled, None, None)  # type: ignore[arg-type]
    assert set(executor._chains) == {"plain"}
