"""What type checkers see of `fluxio` in the code of users; never executed."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, assert_type

from fluxio import (
    BaseCallback,
    CacheMiddleware,
    Checkpoint,
    CheckpointStore,
    Context,
    FinalContext,
    ForkMode,
    InMemoryCache,
    InMemoryStore,
    Middleware,
    Parallel,
    Pipeline,
    RetryMiddleware,
    RetryPolicy,
    RunStatus,
    Secret,
    Send,
    Stage,
    StepHarness,
    current_step,
    make_ctx,
    register_type,
    stage,
)
from fluxio.diff import Diff
from fluxio.events import PipelineEnded, StepEnded
from fluxio.runtime.history import HistoryEntry
from fluxio.runtime.middleware import Next
from fluxio.testing.clock import ManualClock


@stage
async def fetch(ctx: Context) -> Context:
    assert_type(ctx["anything"], Any)
    assert_type(ctx.get("anything"), Any)
    assert_type("anything" in ctx, bool)
    assert_type(current_step().run_id, str)
    return ctx.set("fetched", True).update({"more": 1})


@stage(timeout=5, retry=3, reads=["a"], writes=["b"], transactional=True)
def store(ctx: Context) -> Context:
    return ctx


@stage(retry=RetryPolicy(max_attempts=2, exceptions=(ConnectionError,)), version="2")
async def choose(ctx: Context) -> Send:
    return Send("left", {"patched": True})


@stage
async def tokens(ctx: Context) -> AsyncIterator[str]:
    yield "a"


assert_type(fetch, Stage)
assert_type(store, Stage)
assert_type(choose, Stage)
assert_type(tokens, Stage)


@register_type(name="typing.money")
class Money:
    amount: int = 0


assert_type(Money(), Money)
assert_type(Secret("hunter2").reveal(), str)


class Timing(Middleware):
    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
        assert_type(stage.name, str)
        return await next(ctx)


class Watching(BaseCallback):
    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        assert_type(event.status, RunStatus)

    def on_step_end(self, event: StepEnded) -> None:  # a plain hook is as good
        assert_type(event.step, str)


class FourMethods(CheckpointStore):
    async def save(self, checkpoint: Checkpoint) -> None: ...

    async def load(self, run_id: str) -> Checkpoint | None: ...

    async def delete(self, run_id: str) -> None: ...

    async def exists(self, run_id: str) -> bool:
        return False


pipeline = Pipeline(
    [
        fetch,
        Parallel([store, [fetch, store]], mode=ForkMode.PARALLEL, name="both"),
        choose,
        {"left": store, "right": [fetch, Pipeline([tokens])]},
    ],
    name="typed",
    middleware=[Timing(), RetryMiddleware(max_attempts=3), CacheMiddleware(InMemoryCache())],
    callbacks=[Watching()],
    checkpoint_store=FourMethods(),
    durable=True,
)


async def use(values: Mapping[str, Any]) -> None:
    final = await pipeline.invoke({"a": 1}, run_id="r", on_conflict="resume")
    assert_type(final, FinalContext)
    assert_type(final.run_id, str)
    assert_type(final["a"], Any)
    async for chunk in pipeline.stream(values):
        assert_type(chunk, Any)
    assert_type(await pipeline.replay("r", from_step="fetch"), FinalContext)
    assert_type((await pipeline.fork("r", patch={"a": 2})).run_id, str)
    assert_type(await pipeline.diff("r", "s", at_a=3, at_b="fetch"), Diff)
    assert_type(await pipeline.history("r"), list[HistoryEntry])
    assert_type(await pipeline.state("r"), Context)
    assert_type(await pipeline.run_step("fetch", make_ctx(a=1)), Context)
    assert_type(pipeline.version, str)
    async with Pipeline([fetch], checkpoint_store=InMemoryStore()) as other:
        assert_type(other, Pipeline)
    with StepHarness(fetch, clock=ManualClock()) as harness:
        assert_type(harness.run_sync({"a": 1}), Context)
        assert_type(await harness.run(make_ctx(a=1)), Context)
