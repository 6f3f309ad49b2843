"""FLUXIO["CALLBACKS"] watches the runs of every registered pipeline, beside its own callbacks."""

from __future__ import annotations

import pytest
from django.test import override_settings

from fluxio import BaseCallback
from fluxio.events import PipelineEnded
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
