"""Assertions about what was recorded hold when it is so, and show the record when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fluxio import Context, NoCheckpointError, Pipeline, Send, stage
from fluxio.testing.recorded import Recorded


@stage
async def choose(ctx: Context) -> Send:
    return Send("card", {"asked": True})


@stage
async def charge(ctx: Context) -> Context:
    if ctx["broke"]:
        raise ConnectionError("provider is down")
    return ctx.set("receipt", 17)


pipeline = Pipeline([choose, {"card": [charge]}], durable=True, name="checkout")


@pytest.fixture(scope="module")
def paid() -> Recorded:
    asyncio.run(pipeline.invoke({"broke": False}, run_id="paid"))
    return asyncio.run(Recorded.of(pipeline, "paid"))


@pytest.fixture(scope="module")
def unpaid() -> Recorded:
    with pytest.raises(ConnectionError):
        asyncio.run(pipeline.invoke({"broke": True}, run_id="unpaid"))
    return asyncio.run(Recorded.of(pipeline, "unpaid"))


def test_what_is_so_passes(paid: Recorded, unpaid: Recorded) -> None:
    assert paid.steps == ["choose", "choose/card/charge"]
    paid.assert_steps("choose", "charge")
    paid.assert_steps("choose", "choose/card/charge")
    paid.assert_ran_once("choose", "charge")
    paid.assert_route("choose", "card")
    paid.assert_wrote("charge", receipt=17)
    paid.assert_wrote("choose", asked=True)
    assert unpaid.failures == ["choose/card/charge"]
    unpaid.assert_failed("charge")
    unpaid.assert_failed("charge", ConnectionError)
    unpaid.assert_failed("charge", "is down")
    assert len(paid) == 3
    assert paid[0].kind.value == "start"


@pytest.mark.parametrize(
    ("assertion", "says"),
    [
        (lambda paid, unpaid: paid.assert_steps("charge", "choose"), "the steps charge, choose"),
        (lambda paid, unpaid: paid.assert_steps("choose"), "the steps choose"),
        (lambda paid, unpaid: unpaid.assert_ran_once("charge"), "'charge' once, not 0 times"),
        (lambda paid, unpaid: paid.assert_failed("charge"), "a failure of 'charge'"),
        (
            lambda paid, unpaid: unpaid.assert_failed("charge", KeyError),
            "a failure of 'charge' with KeyError",
        ),
        (
            lambda paid, unpaid: unpaid.assert_failed("charge", "is up"),
            "a failure of 'charge' that says 'is up'",
        ),
        (lambda paid, unpaid: paid.assert_route("choose", "cash"), "that 'choose' chose 'cash'"),
        (lambda paid, unpaid: paid.assert_route("charge", "card"), "that 'charge' chose 'card'"),
        (
            lambda paid, unpaid: paid.assert_wrote("charge", receipt=18),
            "that 'charge' wrote receipt",
        ),
        (lambda paid, unpaid: paid.assert_wrote("charge", total=1), "that 'charge' wrote total=1"),
        (lambda paid, unpaid: unpaid.assert_wrote("charge"), "the step 'charge'"),
    ],
)
def test_what_is_not_so_is_shown(
    paid: Recorded,
    unpaid: Recorded,
    assertion: Callable[[Recorded, Recorded], None],
    says: str,
) -> None:
    with pytest.raises(AssertionError) as raised:
        assertion(paid, unpaid)
    assert f"should have recorded {says}" in str(raised.value)
    assert "0  start" in str(raised.value)


def test_the_record_reads_as_a_list(paid: Recorded, unpaid: Recorded) -> None:
    assert str(paid).splitlines() == [
        "    0  start  ",
        "    1  step   choose  -> card",
        "    2  step   choose/card/charge  {'receipt': 17}",
    ]
    assert str(unpaid).splitlines()[-1].endswith("charge  ConnectionError: provider is down")


async def test_an_unknown_run_has_no_record() -> None:
    with pytest.raises(NoCheckpointError):
        await Recorded.of(pipeline, "nobody")
