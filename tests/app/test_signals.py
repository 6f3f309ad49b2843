"""Signals tell what happened once it is durable, and no receiver can change a run."""

from __future__ import annotations

from typing import Any

import pytest

from fluxio_django import services, signals
from fluxio_django.models import Run
from tests.app.queueing.shop import registered

pytestmark = pytest.mark.django_db(transaction=True)


def test_receivers_hear_of_a_run_whose_status_is_recorded_and_may_raise() -> None:
    heard: list[tuple[str, str]] = []

    def on_finish(sender: Any, run_id: str, status: str, **facts: Any) -> None:
        heard.append((str(status), Run.objects.get(run_id=run_id).status))
        raise RuntimeError("a receiver of no use")

    signals.run_finished.connect(on_finish)
    try:
        with registered() as pipeline:
            final = pipeline.invoke_sync({"order": 1}, run_id="good")
            with pytest.raises(ValueError, match="refused"):
                pipeline.invoke_sync({"order": 2, "card": "refused"}, run_id="bad")
    finally:
        signals.run_finished.disconnect(on_finish)
    assert final["charged"] == 1
    assert heard == [("succeeded", "succeeded"), ("failed", "failed")]


def test_a_queued_run_that_is_cancelled_is_told_of() -> None:
    heard: list[str] = []

    def on_finish(sender: Any, status: str, **facts: Any) -> None:
        heard.append(str(status))

    signals.run_finished.connect(on_finish)
    try:
        Run.objects.create(run_id="waits", pipeline="queueing.checkout", status="queued")
        services.cancel("waits")
    finally:
        signals.run_finished.disconnect(on_finish)
    assert heard == ["cancelled"]


def test_without_receivers_nothing_is_sent_and_plain_stages_need_no_loop() -> None:
    assert not signals.anybody_listens()
    with registered() as pipeline:
        assert pipeline._never_waits(None)
