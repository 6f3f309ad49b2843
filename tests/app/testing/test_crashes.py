"""A pipeline in a database can be crashed at every write, and each of its runs is resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group

from fluxio import Context, Parallel, Pipeline, current_step, stage
from fluxio.errors import ConfigurationError
from fluxio.testing.survivals import Moment, every_crash
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.testing import every_crash_sync

told: Counter[str] = Counter()


@stage(transactional=True)
def reserve(ctx: Context) -> Context:
    Group.objects.using(ctx["alias"]).create(name=current_step().run_id)
    return ctx.set("reserved", True)


@stage
def tell(ctx: Context) -> Context:
    told[current_step().run_id] += 1
    return ctx.set("told", True)


def made(nodes: list[object], alias: str) -> DjangoPipeline:
    pipeline = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(alias))
    return pipeline.bound_to(DjangoPipeline, name="testing.crashes", store=DjangoStore)


def test_writes_of_transactional_stages_happen_once_wherever_the_process_dies(
    database: str,
) -> None:
    survivals = list(every_crash_sync(made([reserve, tell], database), {"alias": database}))
    assert [(survival.step, survival.place.moment) for survival in survivals] == [
        ("", Moment.UNRECORDED),
        ("", Moment.RECORDED),
        ("reserve", Moment.UNRECORDED),
        ("reserve", Moment.RECORDED),
        ("tell", Moment.UNRECORDED),
        ("tell", Moment.RECORDED),
    ]
    for survival in survivals:
        assert Group.objects.using(database).filter(name=survival.run_id).count() == 1, survival
        died_in_tell = survival.step == "tell" and survival.place.moment is Moment.UNRECORDED
        assert told[survival.run_id] == 1 + died_in_tell, survival


async def test_a_coroutine_test_crashes_a_pipeline_within_its_transaction(db: None) -> None:
    pipeline = made([reserve, Parallel([tell, stage(name="other")(tell.function)])], "default")
    with pytest.raises(Exception, match="told"):
        await pipeline.invoke({"alias": "default"})
    survived = 0
    async for survival in every_crash(made([reserve, tell], "default"), {"alias": "default"}):
        assert await Group.objects.filter(name=survival.run_id).acount() == 1, survival
        survived += 1
    assert survived == 6


@pytest.mark.parametrize("build", [lambda: Pipeline([tell], name="frail")])
def test_a_pipeline_that_keeps_nothing_is_refused(build: Callable[[], Pipeline]) -> None:
    with pytest.raises(ConfigurationError, match="'frail' keeps no checkpoints"):
        next(every_crash_sync(build(), {}))
