"""The tables hold what the core records, and mean the same on every database."""

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connections, models
from django.db.models.functions import Length

from fluxio import types
from fluxio.store import base
from fluxio.store.base import Row, RunRecord
from fluxio.testing.conformance.samples import opening, row, start_row
from fluxio_django.enums import RowKind, RunStatus
from fluxio_django.fields import ExactCharField
from fluxio_django.models import Checkpoint, PipelineVersion, Run
from fluxio_django.records import record_to_begin
from fluxio_django.tables import Tables

LOOKALIKES = [("A", "a"), ("x", "x "), ("e", "é"), ("ss", "ß"), ("7", "\uff17")]

CHANGED_BY_EVERY_CHECKPOINT = {"head", "ip", "step", "lease_expires_at", "updated_at"}


def make(alias: str, run_id: str, **facts: object) -> Run:
    record = record_to_begin(opening(run_id), start_row(run_id), token=1)
    assert Tables(alias).runs.begin(replace(record, **facts), 30.0, [start_row(run_id)])
    return Run.objects.using(alias).get(run_id=run_id)


def column_names(model: type[models.Model]) -> set[str]:
    return {field.name for field in model._meta.get_fields()}


@pytest.mark.django_db(databases="__all__")
def test_the_migrations_make_the_tables_of_the_models() -> None:
    call_command("makemigrations", "fluxio_django", check=True, dry_run=True, verbosity=0)


def test_a_run_has_a_column_for_every_fact_of_its_record() -> None:
    assert {field.name for field in fields(RunRecord)} <= column_names(Run)


def test_a_checkpoint_has_a_column_for_every_fact_of_its_row_and_its_size() -> None:
    assert {field.name for field in fields(Row)} | {"size"} <= column_names(Checkpoint)


def test_the_statuses_are_those_of_the_core() -> None:
    assert RunStatus.values == [status.value for status in types.RunStatus]


def test_the_kinds_of_rows_are_those_of_the_core() -> None:
    assert RowKind.values == [kind.value for kind in base.RowKind]


@pytest.mark.parametrize("names", LOOKALIKES, ids=lambda names: "-".join(map(ascii, names)))
def test_run_ids_that_look_alike_are_different_runs(database: str, names: tuple[str, str]) -> None:
    first, second = (make(database, name) for name in names)
    assert first.pk != second.pk
    for name, run in zip(names, (first, second), strict=True):
        assert Run.objects.using(database).get(run_id=name).pk == run.pk


@pytest.mark.parametrize("names", LOOKALIKES, ids=lambda names: "-".join(map(ascii, names)))
def test_versions_of_pipelines_that_look_alike_are_kept_apart(
    database: str, names: tuple[str, str]
) -> None:
    versions = Tables(database).versions
    for name in names:
        versions.create(pipeline=name, version="v", manifest="[]")
    assert versions.filter(pipeline__in=names).count() == 2


def test_texts_sort_by_their_bytes_on_every_database(database: str) -> None:
    for name in ("b", "A", "a", "B", "é"):
        make(database, name)
    found = Run.objects.using(database).order_by("run_id").values_list("run_id", flat=True)
    assert list(found) == ["A", "B", "a", "b", "é"]


def test_a_column_that_names_its_own_collation_keeps_it() -> None:
    field = ExactCharField(max_length=1, db_collation="nocase")
    assert field.db_parameters(connections["default"])["collation"] == "nocase"


def test_ids_of_the_full_length_fit(database: str) -> None:
    run = make(database, "~" * 128)
    measured = Run.objects.using(database).annotate(length=Length("run_id")).get(pk=run.pk)
    assert measured.length == 128


def test_no_index_covers_what_every_checkpoint_changes() -> None:
    indexed = {name.lstrip("-") for index in Run._meta.indexes for name in index.fields}
    indexed |= {field.name for field in Run._meta.fields if field.db_index or field.unique}
    assert not indexed & CHANGED_BY_EVERY_CHECKPOINT


@pytest.mark.django_db
def test_every_operation_on_a_run_has_a_permission_of_its_own() -> None:
    own = {
        "resume_run",
        "replay_run",
        "fork_run",
        "cancel_run",
        "diff_run",
        "view_context",
        "force_version",
    }
    known = Permission.objects.filter(content_type__app_label="fluxio_django")
    assert own <= set(known.values_list("codename", flat=True))


@pytest.mark.django_db
def test_deleting_a_user_keeps_the_runs_they_asked_for() -> None:
    user = User.objects.create_user("ada")
    run = make("default", "asked for")
    Run.objects.filter(pk=run.pk).update(requested_by=user)
    user.delete()
    assert Run.objects.get(pk=run.pk).requested_by is None


@pytest.mark.django_db
def test_a_run_can_be_about_any_object() -> None:
    group = Group.objects.create(name="the subject")
    run = make("default", "about something")
    run.subject = group
    run.save()
    assert Run.objects.get(pk=run.pk).subject == group


@pytest.mark.django_db
def test_deleting_a_run_deletes_its_rows() -> None:
    run = make("default", "gone")
    run.delete()
    assert not Checkpoint.objects.exists()


@pytest.mark.django_db
def test_runs_are_listed_newest_first_and_rows_in_their_order() -> None:
    for name in ("first", "second"):
        run = make("default", name)
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    for name, moment in zip(("first", "second"), moments, strict=True):
        Run.objects.filter(run_id=name).update(created_at=moment)
    assert [run.run_id for run in Run.objects.all()] == ["second", "first"]
    facts = {field.name: getattr(row(1), field.name) for field in fields(Row)}
    Checkpoint.objects.create(run=run, size=2, **{**facts, "sequence": 5, "payload": "{}"})
    Checkpoint.objects.create(run=run, size=2, **{**facts, "sequence": 4, "payload": "{}"})
    assert list(run.checkpoints.values_list("sequence", flat=True)) == [0, 4, 5]


@pytest.mark.django_db
def test_objects_say_what_they_are() -> None:
    run = make("default", "order-7")
    version = PipelineVersion(pipeline="shop.checkout", version="5f2c")
    assert str(run) == "order-7 (shop.checkout)"
    assert str(run.checkpoints.get()) == f"{run.pk}/0 start"
    assert str(version) == "shop.checkout @ 5f2c"
