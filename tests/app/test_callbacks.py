"""FLUXIO["CALLBACKS"] watches the runs of every registered pipeline, beside its own callbacks."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import override_settings

from fluxio import BaseCallback, Context, Pipeline, stage
from fluxio.events import PipelineEnded, StepEnded
from fluxio_django import services
from tests.app.queueing.shop import PIPELINE, registered

pytestmark = pytest.mark.django_db(transaction=True)

heard: list[tuple[str, str]] = []


class Listener(BaseCallback):
    """Keeps what it is told."""

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        heard.append((event.run_id, event.status.value))


def listener() -> BaseCallback:
    return Listener()


@pytest.mark.parametrize(
    "chosen",
    [Listener(), f"{__name__}.Listener", f"{__name__}.listener"],
    ids=["instance", "class", "function"],
)
def test_it_hears_of_every_run(chosen: BaseCallback | str) -> None:
    heard.clear()
    with registered() as pipeline, override_settings(FLUXIO={"CALLBACKS": [chosen]}):
        services.start(PIPELINE, {"order": 1}, run_id="good")
        with pytest.raises(ValueError, match="refused"):
            pipeline.invoke_sync({"order": 2, "card": "refused"}, run_id="bad")
        with pytest.raises(ValueError, match="refused"):
            pipeline.resume_sync("bad")
        assert not pipeline._never_waits(None)
    with registered() as pipeline:
        pipeline.invoke_sync({"order": 3}, run_id="unheard")
    assert heard == [("good", "succeeded"), ("bad", "failed"), ("bad", "failed")]


@stage
async def step(ctx: Context) -> Context:
    return ctx.set("step", True)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_plain_hook_leaves_no_connection_behind() -> None:
    opened: list[Any] = []

    class Asking(BaseCallback):
        def on_step_end(self, event: StepEnded) -> None:  # type: ignore[override]
            with connections["postgres"].cursor() as cursor:
                cursor.execute("SELECT 1")
            opened.append(connections["postgres"].connection)

    async_to_sync(Pipeline([step, step], callbacks=[Asking()]).invoke)({})
    assert [connection.closed for connection in opened] == [True, True]
