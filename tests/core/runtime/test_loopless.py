"""Coroutines that never wait run where no event loop is; settling works with one and without."""

from __future__ import annotations

import asyncio

import pytest

from fluxio.runtime.loopless import in_loop, run_without_loop
from fluxio.runtime.settling import Settled, Unhurried, settled


async def answer() -> tuple[int, bool]:
    return 42, in_loop()


def test_a_coroutine_that_never_waits_gives_its_result() -> None:
    assert run_without_loop(answer()) == (42, False)
    assert asyncio.run(answer()) == (42, True)


def test_what_it_raises_comes_out() -> None:
    async def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run_without_loop(fails())


def test_a_coroutine_that_waits_is_closed_and_refused() -> None:
    closed: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="needs an event loop"):
        run_without_loop(waits())
    assert closed == [True]


def test_settling_needs_no_loop() -> None:
    assert run_without_loop(settled(answer())) == Settled((42, False))


async def cancelled_while(work: asyncio.Future[int]) -> asyncio.Task[Settled[int]]:
    task = asyncio.ensure_future(settled(work))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done(), "it waits for the outcome"
    return task


async def test_a_cancellation_is_handed_back_with_the_result() -> None:
    work = asyncio.get_running_loop().create_future()
    task = await cancelled_while(work)
    work.set_result(7)
    outcome = await task
    assert outcome.result == 7
    with pytest.raises(asyncio.CancelledError):
        outcome.deliver()


async def test_what_the_work_raised_outranks_a_cancellation() -> None:
    work = asyncio.get_running_loop().create_future()
    task = await cancelled_while(work)
    work.set_exception(ValueError("work"))
    with pytest.raises(ValueError, match="work"):
        await task


async def test_work_that_is_cancelled_itself_is_a_cancellation() -> None:
    work = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(settled(work))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_unhurried_future_is_not_cancelled_with_the_task_that_waits() -> None:
    work: Unhurried[int] = Unhurried()
    task = await cancelled_while(work)
    work.set_result(7)
    assert await task == Settled(7, task.result().cancellation)
    with pytest.raises(asyncio.CancelledError):
        task.result().deliver()


async def test_what_an_unhurried_future_raises_outranks_a_cancellation() -> None:
    work: Unhurried[int] = Unhurried()
    task = await cancelled_while(work)
    work.set_exception(ValueError("work"))
    with pytest.raises(ValueError, match="work"):
        await task


async def test_a_bare_wait_for_an_unhurried_future_is_cancelled_once_it_has_come() -> None:
    work: Unhurried[int] = Unhurried()

    async def waits() -> int:
        return await work

    task = asyncio.ensure_future(waits())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    work.set_result(7)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_without_a_cancellation_the_result_is_delivered() -> None:
    assert (await settled(answer())).deliver() == (42, True)
