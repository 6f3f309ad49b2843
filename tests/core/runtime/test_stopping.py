"""A run that somebody elsewhere wants to end does so at its next await or stage boundary."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fluxio import Context, InMemoryStore, Pipeline, stage
from fluxio.errors import RunCancelledError
from fluxio.runtime import stopping
from fluxio.runtime.stopping import Lookout, StopSign
from fluxio.store.base import Claim
from fluxio.types import RunStatus

SECONDS = 20.0


class Wishes:
    """A leasing capability whose runs somebody wants to end, once `made` is set."""

    def __init__(self, failures: int = 0) -> None:
        self.made = threading.Event()
        self.failures = failures

    def renew(self, claims: Sequence[Claim]) -> None:
        """They never expire."""

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        if self.failures:
            self.failures -= 1
            raise OSError("down")
        return {claim.run_id: "enough" for claim in claims} if self.made.is_set() else {}


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> Wishes:
    monkeypatch.setattr(stopping, "SECONDS_BETWEEN_LOOKS", 0.01)
    return Wishes()


@pytest.fixture
def store(wishes: Wishes) -> InMemoryStore:
    store = InMemoryStore()
    store._journal.leasing = wishes  # type: ignore[assignment]
    return store


async def recorded(store: InMemoryStore, run_id: str) -> tuple[RunStatus, str, int]:
    record = await store.journal().run(run_id)
    assert record is not None
    return record.status, record.error, record.head


async def test_a_run_that_waits_is_cancelled_where_it_waits(
    store: InMemoryStore, wishes: Wishes
) -> None:
    waiting = asyncio.Event()

    @stage(version="1")
    async def sleep(ctx: Context) -> Context:
        wishes.made.set()
        await waiting.wait()
        return ctx

    pipeline = Pipeline([sleep], durable=True, checkpoint_store=store)
    with pytest.raises(RunCancelledError, match="Cancelled: enough") as cancelled:
        await pipeline.invoke({}, run_id="r")
    assert (cancelled.value.run_id, cancelled.value.reason) == ("r", "enough")
    assert await recorded(store, "r") == (RunStatus.CANCELLED, "Cancelled: enough", 1)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_cancelled_run_goes_on_where_it_was_and_repeats_nothing_recorded(
    store: InMemoryStore, wishes: Wishes
) -> None:
    ran: list[str] = []
    waiting = asyncio.Event()

    @stage(version="1")
    async def first(ctx: Context) -> Context:
        ran.append("first")
        return ctx.set("first", True)

    @stage(version="1")
    async def second(ctx: Context) -> Context:
        ran.append("second")
        wishes.made.set()
        await waiting.wait()
        return ctx.set("second", True)

    pipeline = Pipeline([first, second], durable=True, checkpoint_store=store)
    with pytest.raises(RunCancelledError):
        await pipeline.invoke({}, run_id="r")
    wishes.made.clear()
    waiting.set()
    assert (await pipeline.invoke({}, run_id="r", resume=True))["second"] is True
    assert ran == ["first", "second", "second"]


async def test_stages_that_never_wait_end_at_a_boundary(
    store: InMemoryStore, wishes: Wishes
) -> None:
    ran: list[int] = []

    def busy(number: int) -> Any:
        @stage(name=f"s{number}", version="1")
        async def step(ctx: Context) -> Context:
            ran.append(number)
            if number == 1:
                sign = next(iter(stopping.lookout._signs.values()))[2]
                sign.put_up("enough")
            return ctx.set(f"s{number}", True)

        return step

    pipeline = Pipeline([busy(n) for n in range(4)], durable=True, checkpoint_store=store)
    with pytest.raises(RunCancelledError):
        await pipeline.invoke({}, run_id="r")
    assert ran == [0, 1]
    assert (await recorded(store, "r"))[0] is RunStatus.CANCELLED


async def test_a_cancellation_of_the_caller_stays_one(store: InMemoryStore, wishes: Wishes) -> None:
    started = asyncio.Event()

    @stage(version="1")
    async def sleep(ctx: Context) -> Context:
        started.set()
        await asyncio.Event().wait()
        return ctx

    pipeline = Pipeline([sleep], durable=True, checkpoint_store=store)
    task = asyncio.create_task(pipeline.invoke({}, run_id="r"))
    await started.wait()
    next(iter(stopping.lookout._signs.values()))[2].put_up("enough")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await recorded(store, "r"))[0] is RunStatus.CANCELLED


async def test_a_wish_that_comes_with_the_last_commit_changes_nothing(
    store: InMemoryStore, wishes: Wishes
) -> None:
    @stage(version="1")
    async def last(ctx: Context) -> Context:
        return ctx.set("done", True)

    pipeline = Pipeline([last], durable=True, checkpoint_store=store)
    journal, commit = store._journal, store._journal.commit

    async def late(claim: Claim, work: Any) -> None:
        next(iter(stopping.lookout._signs.values()))[2].put_up("too late")
        await commit(claim, work)

    journal.commit = late  # type: ignore[method-assign]
    assert (await pipeline.invoke({}, run_id="r"))["done"] is True
    assert (await recorded(store, "r"))[0] is RunStatus.SUCCEEDED
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


def test_a_sign_may_be_put_up_when_the_loop_of_its_execution_is_closed() -> None:
    sign, loop = StopSign(), asyncio.new_event_loop()
    sight = sign.in_sight()

    async def begin() -> None:
        sight.__enter__()

    loop.run_until_complete(begin())
    loop.close()
    sign.put_up("too late")
    assert sign.is_up


def test_a_store_that_cannot_be_asked_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stopping, "SECONDS_BETWEEN_LOOKS", 0.01)
    wishes, lookout, heard = Wishes(failures=2), Lookout(), threading.Event()
    wishes.made.set()
    monkeypatch.setattr(StopSign, "put_up", lambda self, reason: heard.set())
    claim = Claim(
        run_id="r",
        token=1,
        owner="me",
        attempt=1,
        head=0,
        lease_seconds=30.0,
        previous=RunStatus.QUEUED,
    )
    with lookout.watching(wishes, claim):
        assert heard.wait(SECONDS)
        thread = lookout._thread
    assert "trying again" in caplog.text
    assert thread is not None
    thread.join(SECONDS)
    assert lookout._thread is None
