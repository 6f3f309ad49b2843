"""Runs that a project's own tables point to go as `on_delete` says, and hold nothing up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connections, models
from django.utils import timezone

from fluxio import Context, stage
from fluxio.pipeline import Pipeline
from fluxio_django import forgetting, recovery, services
from fluxio_django.forgetting import Forgetting, Target
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from fluxio_django.retention import Gardener, Pruned
from fluxio_django.tables import Tables

NAME = "retention.relations"

Invoices = Callable[..., Any]


@stage(version="1")
def one(ctx: Context) -> Context:
    return ctx.set("one", 1)


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database}
    pipelines.add(NAME, lambda: Pipeline([one], durable=True))
    yield pipelines[NAME]
    pipelines.remove(NAME)


@pytest.fixture
def invoices(pipeline: DjangoPipeline, database: str) -> Iterator[Invoices]:
    """Gives a project's model that points to a run, whose table is there until the test ends."""
    made: list[Any] = []

    def make(on_delete: Any, **options: Any) -> Any:
        key: Any = models.ForeignKey(Run, on_delete=on_delete, related_name="+", **options)
        meta = type("Meta", (), {"app_label": "orders"})
        body = {"__module__": __name__, "Meta": meta, "run": key}
        made.append(type("Invoice", (models.Model,), body))
        with connections[database].schema_editor() as editor:
            editor.create_model(made[0])
        return made[0]._default_manager.using(database)

    yield make
    for model in made:
        with connections[database].schema_editor() as editor:
            editor.delete_model(model)
        del apps.all_models["orders"]["invoice"]
        apps.clear_cache()


def ended_long_ago(pipeline: DjangoPipeline, database: str, *run_ids: str, **links: Any) -> None:
    then = timezone.now() - timedelta(days=1000)
    for run_id in run_ids:
        pipeline.invoke_sync({}, run_id=run_id, **links)
    Run.objects.using(database).update(created_at=then, finished_at=then)


def run_named(database: str, run_id: str) -> Run:
    return Run.objects.using(database).get(run_id=run_id)


def left(database: str) -> list[str]:
    return sorted(Run.objects.using(database).values_list("run_id", flat=True))


def pruned() -> Pruned:
    return sum(services.prune(), Pruned())


def test_what_goes_with_its_run_goes(
    pipeline: DjangoPipeline, database: str, invoices: Invoices
) -> None:
    found = invoices(models.CASCADE)
    ended_long_ago(pipeline, database, "a", "b")
    found.create(run=run_named(database, "a"))
    assert pruned() == Pruned(runs=2, rows=4)
    assert (left(database), found.count()) == ([], 0)


def test_what_lets_go_of_its_run_stays(
    pipeline: DjangoPipeline, database: str, invoices: Invoices
) -> None:
    found = invoices(models.SET_NULL, null=True)
    ended_long_ago(pipeline, database, "a", "b")
    found.create(run=run_named(database, "a"))
    assert pruned() == Pruned(runs=2, rows=4)
    assert (left(database), found.get().run_id) == ([], None)


def test_a_protected_run_is_passed_over_and_told(
    pipeline: DjangoPipeline, database: str, invoices: Invoices, caplog: pytest.LogCaptureFixture
) -> None:
    found = invoices(models.PROTECT, to_field="run_id")
    ended_long_ago(pipeline, database, "a", "b")
    found.create(run=run_named(database, "a"))
    assert [due.runs for due in services.due_to_be_pruned()] == [1]
    with caplog.at_level(logging.INFO, "fluxio.retention"):
        assert pruned() == Pruned(runs=1, rows=2, kept=1)
    assert left(database) == ["a"]
    assert "other models protect them: 1." in caplog.text
    found.all().delete()
    assert pruned().runs == 1


@pytest.mark.parametrize("on_delete", [models.RESTRICT, models.DO_NOTHING])
def test_a_run_that_cannot_be_deleted_keeps_no_other_one(
    pipeline: DjangoPipeline, database: str, invoices: Invoices, on_delete: Any
) -> None:
    found = invoices(on_delete)
    ended_long_ago(pipeline, database, *"abcde")
    found.create(run=run_named(database, "c"))
    assert pruned() == Pruned(runs=4, rows=8, kept=1)
    assert left(database) == ["c"]


def test_a_table_that_django_knows_nothing_of_keeps_its_run_and_no_other_one(
    pipeline: DjangoPipeline, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended_long_ago(pipeline, database, *"abc")
    kind = "bigint" if database != "default" else "integer"
    with connections[database].cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE shipment (run_id {kind}, "
            "FOREIGN KEY (run_id) REFERENCES fluxio_django_run (id))"
        )
        cursor.execute("INSERT INTO shipment SELECT id FROM fluxio_django_run WHERE run_id = 'b'")
    try:
        assert pruned() == Pruned(runs=2, rows=4, kept=1)
        assert left(database) == ["b"]
        assert "Run 'b' is old enough to go and stays" in caplog.text
    finally:
        with connections[database].cursor() as cursor:
            cursor.execute("DROP TABLE shipment")


def test_a_sweep_goes_on_when_pruning_fails(
    pipeline: DjangoPipeline,
    database: str,
    invoices: Invoices,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("a rule of the project")

    monkeypatch.setattr(recovery, "gardener", Gardener(lambda: 0.0))
    found = invoices(fails)
    ended_long_ago(pipeline, database, "a")
    found.create(run=run_named(database, "a"))
    assert recovery.sweep(database).pruned == 0
    assert "a rule of the project" in caplog.text
    caplog.clear()
    assert recovery.sweep(database).pruned == 0
    assert caplog.text == "", "it rests"


def test_a_protected_run_is_not_forgotten_and_the_others_are(
    pipeline: DjangoPipeline, database: str, invoices: Invoices
) -> None:
    found = invoices(models.PROTECT)
    ada = User.objects.using(database).create(username="ada")
    ended_long_ago(pipeline, database, "a", "b", subject=ada)
    found.create(run=run_named(database, "a"))
    target, tables = Target(model=User, pk=ada.pk), Tables(database)
    wish = Forgetting(by="privacy", reason="request 42", delete=True)
    done = list(forgetting.forget(tables, target, forgetting.traces(tables, target), wish))
    assert [(each.trace.run_id, each.deleted) for each in done] == [("a", False), ("b", True)]
    assert "Invoice.run" in done[0].problem
    assert left(database) == ["a"]
