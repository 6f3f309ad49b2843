"""G15: values come back from every store of the core exactly, or fail early with their key path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, EncodingError, InMemoryStore, Pipeline, stage
from tests.core.codec.examples import examples
from tests.core.codec.test_codec_values import same
from tests.core.stores.subjects import RedisKeys, redis_store
from tests.core.stores.toy import ToyStore
from tests.proofs.tally import Tally

EXAMPLES = 2_000
IN_ONE_STEP = 20


@pytest.fixture
def keys() -> Iterator[RedisKeys]:
    """A part of the Redis server that belongs to one test."""
    keys = RedisKeys()
    yield keys
    keys.close()


@pytest.fixture(params=["memory", "toy", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest) -> tuple[str, CheckpointStore]:
    """Each store, and its name."""
    if request.param == "redis":
        return "Redis", redis_store(request.getfixturevalue("keys"))
    return request.param, InMemoryStore() if request.param == "memory" else ToyStore()


async def test_g15_a_value_comes_back_equal_and_of_the_same_type(
    place: tuple[str, CheckpointStore], tally: Tally
) -> None:
    name, store = place
    written: dict[str, Any] = {}

    @stage(version="1")
    async def write(ctx: Context) -> Context:
        return ctx.update(written)

    @stage(version="1")
    async def stop(ctx: Context) -> Context:
        if ctx.get("given") is None:
            raise ValueError("stop")
        return ctx

    pipeline = Pipeline([write, stop], durable=True, checkpoint_store=store, name="p")
    wrong: list[Any] = []
    drawn = examples(EXAMPLES)
    for number in range(0, len(drawn), IN_ONE_STEP):
        values = drawn[number : number + IN_ONE_STEP]
        written = {f"v{at}": value for at, value in enumerate(values)}
        with pytest.raises(ValueError, match="stop"):
            await pipeline.invoke({"given": None}, run_id=f"r{number}")
        read = await pipeline.state(f"r{number}")
        lost = [value for key, value in written.items() if not same(read[key], value)]
        tally.add("G15", name, len(values), len(lost))
        wrong += lost
    assert wrong == []


class Stranger:
    """A type that nobody registered."""


UNSTORABLE: dict[str, tuple[Any, str]] = {
    "an object": (Stranger(), ""),
    "in a list": ([1, [2, Stranger()]], "[1][1]"),
    "in a mapping": ({"a": {"b": Stranger()}}, '["a"]["b"]'),
    "in a tuple": (({"k": (Stranger(),)},), '[0]["k"][0]'),
    "a function": (len, ""),
    "a generator": ((n for n in ()), ""),
    "a subclass of int": (type("Cents", (int,), {})(3), ""),
}


@pytest.mark.parametrize("case", UNSTORABLE)
async def test_g15_what_cannot_be_stored_fails_its_own_step_with_the_path(
    place: tuple[str, CheckpointStore], case: str, tally: Tally
) -> None:
    name, store = place
    value, path = UNSTORABLE[case]
    later: list[int] = []

    @stage(version="1")
    async def write(ctx: Context) -> Context:
        return ctx.set("order", value)

    @stage(version="1")
    async def after(ctx: Context) -> Context:
        later.append(1)
        return ctx

    pipeline = Pipeline([write, after], durable=True, checkpoint_store=store, name="p")
    with pytest.raises(EncodingError) as refused:
        await pipeline.invoke({}, run_id="r")
    sound = refused.value.path == f'ctx["order"]{path}' and not later
    tally.add("G15", name, 1, not sound)
    assert refused.value.path == f'ctx["order"]{path}'
    assert later == []
    assert dict(await pipeline.state("r")) == {}
