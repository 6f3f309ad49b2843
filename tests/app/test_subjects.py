"""A run is linked to what it is about and to who wants it, however it is started."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.test.utils import CaptureQueriesContext

from fluxio import Context, InMemoryStore, stage
from fluxio.errors import ConfigurationError
from fluxio.pipeline import Pipeline
from fluxio_django import services
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines

NAME = "subjects.tests"


@stage(version="1")
def work(ctx: Context) -> Context:
    return ctx.set("done", True)


@stage(version="1")
async def tell(ctx: Context) -> Any:
    yield "a chunk"


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database, "DISPATCHER": "eager"}
    pipelines.add(NAME, lambda: Pipeline([work], durable=True))
    yield pipelines[NAME]
    pipelines.remove(NAME)


@pytest.fixture
def order(database: str) -> Group:
    return Group.objects.using(database).create(name="order 7")


@pytest.fixture
def user(database: str) -> User:
    return User.objects.using(database).create(username="ada")


class Beside:
    """Everything is read where runs are."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        alias: str = django_settings.FLUXIO["DATABASE"]
        return alias


def test_every_way_to_start_links_the_run(
    pipeline: DjangoPipeline, order: Group, user: User, database: str, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Beside"]
    pipeline.invoke_sync({}, run_id="invoked", subject=order, requested_by=user)
    pipeline.enqueue_sync({}, "queued", subject=order)
    services.start(NAME, {}, run_id="started", subject=order, requested_by=user)
    pipeline.invoke_sync({}, run_id="about-nothing")
    linked = services.runs_about(order)
    assert sorted(linked.values_list("run_id", flat=True)) == ["invoked", "queued", "started"]
    invoked = Run.objects.using(database).get(run_id="invoked")
    assert (invoked.subject, invoked.requested_by) == (order, user)
    assert invoked.subject_type.model == "group"


async def test_async_starts_and_streams_link_the_run(
    pipeline: DjangoPipeline, order: Group
) -> None:
    await pipeline.invoke({}, run_id="invoked", subject=order)
    pipelines.add(f"{NAME}.stream", lambda: Pipeline([tell], durable=True))
    try:
        chunks = pipelines[f"{NAME}.stream"].stream({}, run_id="streamed", subject=order)
        assert [chunk async for chunk in chunks] == ["a chunk"]
    finally:
        pipelines.remove(f"{NAME}.stream")
    found = [run.run_id async for run in services.runs_about(order).order_by("run_id")]
    assert found == ["invoked", "streamed"]


def test_a_fork_is_about_what_its_source_is_about(
    pipeline: DjangoPipeline, order: Group, user: User
) -> None:
    pipeline.invoke_sync({}, run_id="source", subject=order, requested_by=user)
    pipeline.fork_sync("source", as_run_id="fork")
    assert services.runs_about(order).get(run_id="fork").parent == "source"


def test_going_on_keeps_the_links_and_starting_afresh_does_not(
    pipeline: DjangoPipeline, order: Group
) -> None:
    pipeline.invoke_sync({}, run_id="r", subject=order)
    pipeline.replay_sync("r")
    pipeline.resume_sync("r")
    pipeline.invoke_sync({}, run_id="r", on_conflict="resume")
    assert services.runs_about(order).count() == 1
    pipeline.invoke_sync({}, run_id="r")
    assert not services.runs_about(order).exists()
    pipeline.invoke_sync({}, run_id="r", subject=order)
    assert services.runs_about(order).count() == 1


def test_an_instance_that_is_not_saved_is_refused_before_anything_is_written(
    pipeline: DjangoPipeline, database: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"subject=.* has not been saved"):
        pipeline.invoke_sync({}, run_id="r", subject=Group(pk=77, name="new"))
    with pytest.raises(ConfigurationError, match=r"requested_by=.* has not been saved"):
        pipeline.invoke_sync({}, run_id="s", requested_by=User(username="new"))
    with pytest.raises(ConfigurationError, match=r"subject=.* has not been saved"):
        pipeline.enqueue_sync({}, "q", subject=Group(name="new"))
    assert not Run.objects.using(database).exists()


def test_only_a_user_can_ask_for_a_run(
    pipeline: DjangoPipeline, order: Group, database: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"requested_by=<Group.* is no auth\.User"):
        pipeline.invoke_sync({}, run_id="r", requested_by=order)
    with pytest.raises(ConfigurationError, match="subject="):
        services.start(NAME, {}, run_id="s", requested_by=order)
    assert not Run.objects.using(database).exists()


@pytest.mark.parametrize("given", ["order 7", 7, Group])
def test_what_is_no_instance_is_refused_with_its_name(
    pipeline: DjangoPipeline, given: Any, database: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"subject=.* is no instance of a model"):
        pipeline.enqueue_sync({}, subject=given)
    with pytest.raises(ConfigurationError, match=r"subject=.* is no instance of a model"):
        services.runs_about(given)
    with pytest.raises(ConfigurationError, match=r"requested_by=.* is no instance of a model"):
        pipeline.invoke_sync({}, run_id="a", requested_by=given)
    assert not Run.objects.using(database).exists()


def test_a_pipeline_without_a_table_of_runs_cannot_link_them(order: Group) -> None:
    made = Pipeline([work], durable=True, checkpoint_store=InMemoryStore())
    memory = made.bound_to(DjangoPipeline, name="memory", store=InMemoryStore)
    with pytest.raises(ConfigurationError, match="none can be linked to anything"):
        memory.invoke_sync({}, subject=order)


def test_linking_costs_no_query_of_its_own(
    pipeline: DjangoPipeline, order: Group, database: str
) -> None:
    pipeline.invoke_sync({}, run_id="first", subject=order)
    with CaptureQueriesContext(connections[database]) as plain:
        pipeline.invoke_sync({}, run_id="plain")
    with CaptureQueriesContext(connections[database]) as linked:
        pipeline.invoke_sync({}, run_id="linked", subject=order)
    assert len(linked) == len(plain)


class Homes:
    """Groups are read in `default`, wherever runs are, and runs have no table elsewhere."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "default" if model is Group else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "postgres" if app_label == "fluxio_django" else None


@pytest.fixture
def apart(settings: Any, transactional_db: None) -> Iterator[DjangoPipeline]:
    """A pipeline whose runs are in another database than what they are about."""
    settings.FLUXIO = {"DATABASE": "postgres", "DISPATCHER": "eager"}
    pipelines.add(NAME, lambda: Pipeline([work], durable=True))
    yield pipelines[NAME]
    pipelines.remove(NAME)


APART = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["default", "postgres"]),
]


@pytest.mark.parametrize("routers", [[], [f"{__name__}.Homes"]], ids=["no router", "a router"])
@pytest.mark.usefixtures("apart")
class TestApart:
    """Runs in one database, and what they are about in another one."""

    pytestmark = APART

    def test_a_run_finds_what_it_is_about(
        self, apart: DjangoPipeline, routers: list[str], settings: Any
    ) -> None:
        settings.DATABASE_ROUTERS = routers
        # Each database numbers its content types for itself; the next link makes this one anew.
        ContentType.objects.using("postgres").get(app_label="auth", model="group").delete()
        ContentType.objects.clear_cache()
        order = Group.objects.using("default").create(name="order 7")
        Group.objects.using("postgres").create(pk=order.pk, name="another one with its key")
        apart.invoke_sync({}, run_id="r", subject=order)
        run = services.runs_about(order).get()
        assert (run.subject, run.subject._state.db) == (order, "default")
        assert run.subject is run.subject
        order.delete()
        assert Run.objects.using("postgres").get().subject is not order

    def test_deleting_people_needs_no_table_of_runs_beside_them(
        self, apart: DjangoPipeline, routers: list[str], settings: Any
    ) -> None:
        settings.DATABASE_ROUTERS = routers
        user = User.objects.using("default").create(username="ada")
        with CaptureQueriesContext(connections["default"]) as queries:
            user.delete()
        asked = any("fluxio_django_run" in query["sql"] for query in queries)
        assert asked == (not routers)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_subject_that_no_run_would_find_again_is_refused(settings: Any) -> None:
    settings.FLUXIO = {"DATABASE": "default"}
    pipelines.add(NAME, lambda: Pipeline([work], durable=True))
    try:
        order = Group.objects.using("postgres").create(name="order 7")
        with pytest.raises(ConfigurationError, match="db_for_read of a router name 'postgres'"):
            pipelines[NAME].invoke_sync({}, run_id="r", subject=order)
    finally:
        pipelines.remove(NAME)
    assert not Run.objects.exists()
