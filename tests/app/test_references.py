"""Model instances in contexts travel as references and are fetched afresh by whoever works on."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connections, models
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from fluxio import Context, InMemoryCache, InMemoryStore, stage
from fluxio.codec import DEFAULT_CODEC
from fluxio.errors import CorruptCheckpointError, EncodingError
from fluxio.pipeline import Pipeline
from fluxio.runtime.middleware import CacheMiddleware
from fluxio_django import DjangoStore, services
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.references import ModelReference, ReferenceGoneError
from fluxio_django.registry import pipelines

NAME = "references.tests"

failing: list[bool] = []
seen: list[Any] = []


@stage(version="1")
def prepare(ctx: Context) -> Context:
    return ctx.set("prepared", True)


@stage(version="1")
async def work(ctx: Context) -> Context:
    if failing:
        raise RuntimeError("the first time it fails")
    group = ctx["group"]
    # In an event loop: a field that were fetched only now would be refused by Django.
    seen.append((type(group), group.pk, group.name, group._state.db))
    return ctx.set("name", group.name)


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database}
    pipelines.add(NAME, lambda: Pipeline([prepare, work], durable=True))
    seen.clear()
    failing.clear()
    yield pipelines[NAME]
    failing.clear()
    pipelines.remove(NAME)


@pytest.fixture
def group(database: str) -> Group:
    return Group.objects.using(database).create(name="editors")


@pytest.fixture
def proxy() -> Iterator[type[Group]]:
    """A proxy of Group, known to the app registry for the time of one test."""

    class Team(Group):
        class Meta:
            proxy = True
            app_label = "auth"

    yield Team
    del apps.all_models["auth"]["team"]
    apps.clear_cache()


def crashed(pipeline: DjangoPipeline, values: dict[str, Any], run_id: str = "r") -> None:
    failing.append(True)
    with pytest.raises(RuntimeError):
        pipeline.invoke_sync(values, run_id=run_id)
    failing.clear()


def test_a_resumed_stage_gets_the_row_as_it_is_now(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    crashed(pipeline, {"group": group})
    Group.objects.using(database).update(name="renamed since")
    final = pipeline.resume_sync("r")
    assert seen == [(Group, group.pk, "renamed since", database)]
    assert final["name"] == "renamed since"


def test_what_is_stored_is_the_label_the_key_and_the_alias(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    pipeline.invoke_sync({"group": group}, run_id="r")
    payload = Checkpoint.objects.using(database).get(run__run_id="r", sequence=0).payload
    stored = f'{{"$:django.model":{{"model":"auth.Group","pk":{group.pk},"using":"{database}"}}}}'
    assert stored in payload
    assert "editors" not in payload


def test_the_stored_result_holds_instances_again(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    pipeline.invoke_sync({"group": group, "all": [group, (group,)]}, run_id="r")
    Group.objects.using(database).update(name="later")
    again = pipeline.resume_sync("r")
    assert again["all"][0] is again["all"][1][0]  # a row has one instance
    assert (again["group"].name, again["name"]) == ("later", "editors")
    assert pipeline.state_sync("r")["group"].name == "later"
    assert not again["group"].get_deferred_fields()


def test_a_queued_run_gives_instances_to_whoever_waits_for_it(
    pipeline: DjangoPipeline, group: Group, settings: Any
) -> None:
    settings.FLUXIO = {**settings.FLUXIO, "DISPATCHER": "eager"}
    handle = pipeline.enqueue_sync({"group": group}, "queued")
    assert handle.result(timeout=0)["group"].name == "editors"


async def test_async_code_gets_instances_without_touching_the_database_in_the_loop(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    await pipeline.invoke({"group": group}, run_id="r")
    state = await pipeline.state("r", 0)
    final = await pipeline.resume("r")
    assert (state["group"].name, final["group"].name) == ("editors", "editors")


def test_many_references_cost_one_query_for_each_model_and_database(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    content_type = ContentType.objects.db_manager(database).get_for_model(Group)
    groups = [Group.objects.using(database).create(name=f"g{at}") for at in range(30)]
    permissions = [
        Permission.objects.using(database).create(
            name=f"p{at}", codename=f"p{at}", content_type=content_type
        )
        for at in range(30)
    ]
    crashed(pipeline, {"group": group, "many": groups, "others": permissions})
    with CaptureQueriesContext(connections[database]) as queries:
        final = pipeline.resume_sync("r")
    fetched = [query["sql"] for query in queries if "auth_" in query["sql"]]
    assert len(fetched) == 2
    assert [one.name for one in final["many"]] == [f"g{at}" for at in range(30)]
    assert final["others"][7].codename == "p7"


def test_looking_at_a_run_asks_for_no_row_that_it_refers_to(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    pipeline.invoke_sync({"group": group}, run_id="a")
    pipeline.invoke_sync({"group": group}, run_id="b")
    Group.objects.using(database).filter(pk=group.pk).delete()
    reference = ModelReference("auth.Group", group.pk, database)
    with CaptureQueriesContext(connections[database]) as queries:
        assert services.state("a")["group"] == reference
        assert services.state("a", "work")["group"] == reference
        assert services.history("a")[0].writes == {}
        assert not services.diff("a", "b")
        assert not pipeline.diff_sync("a", "b")
    assert not [query for query in queries if "auth_group" in query["sql"]]


def test_a_difference_is_told_by_label_and_key(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    other = Group.objects.using(database).create(name="authors")
    pipeline.invoke_sync({"group": group}, run_id="a")
    pipeline.invoke_sync({"group": other}, run_id="b")
    pipeline.invoke_sync({"group": group}, run_id="c")
    assert pipeline.diff_sync("a", "b")["group"] == {
        "a": ModelReference("auth.Group", group.pk, database),
        "b": ModelReference("auth.Group", other.pk, database),
    }
    assert not pipeline.diff_sync("a", "c")


def test_a_row_that_is_gone_is_named_with_its_key_path_and_nothing_runs(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    crashed(pipeline, {"group": group, "deep": {"lines": [0, (group,)]}})
    Group.objects.using(database).filter(pk=group.pk).delete()
    with pytest.raises(ReferenceGoneError) as caught:
        pipeline.resume_sync("r")
    problem = caught.value
    assert (problem.path, problem.model, problem.pk) == ('ctx["group"]', "auth.Group", group.pk)
    assert f"auth.Group {group.pk} in database {database!r}" in str(problem)
    assert seen == []
    run = Run.objects.using(database).get(run_id="r")
    assert (run.status, run.head) == ("failed", 2)
    with pytest.raises(ReferenceGoneError, match=r'ctx\["deep"\]\["lines"\]\[1\]\[0\] refers'):
        pipeline.fork_sync("r", patch={"group": None})


def test_a_fork_may_set_another_value_where_a_row_is_gone(
    pipeline: DjangoPipeline, group: Group, database: str
) -> None:
    crashed(pipeline, {"group": group})
    other = Group.objects.using(database).create(name="authors")
    Group.objects.using(database).filter(pk=group.pk).delete()
    assert pipeline.fork_sync("r", patch={"group": other})["name"] == "authors"


def test_a_row_that_a_later_step_replaced_may_be_gone(database: str) -> None:
    @stage(version="1")
    def remove(ctx: Context) -> Context:
        Group.objects.using(database).filter(pk=ctx["group"].pk).delete()
        return ctx.set("group", None)

    @stage(version="1")
    def last(ctx: Context) -> Context:
        if failing:
            raise RuntimeError
        return ctx.set("done", ctx["group"] is None)

    made = Pipeline([remove, last], durable=True, checkpoint_store=DjangoStore(using=database))
    made = made.bound_to(DjangoPipeline, name="removing", store=DjangoStore)
    failing[:] = [True]
    with pytest.raises(RuntimeError):
        made.invoke_sync({"group": Group.objects.using(database).create(name="x")}, run_id="r")
    failing.clear()
    assert made.resume_sync("r")["done"] is True


@pytest.mark.parametrize("make", [lambda: Group(name="new"), lambda: Group(pk=12345)])
def test_an_unsaved_instance_is_refused_with_its_key_path(
    pipeline: DjangoPipeline, database: str, make: Any
) -> None:
    with pytest.raises(EncodingError, match=r"unsaved instance of auth\.Group") as caught:
        pipeline.invoke_sync({"group": None, "items": [{"of": make()}]}, run_id="r")
    assert caught.value.path == 'ctx["items"][0]["of"]'
    assert not Run.objects.using(database).filter(run_id="r").exists()


def test_a_lazy_user_is_refused_with_the_way_to_the_user_itself(pipeline: DjangoPipeline) -> None:
    def fetch() -> Any:
        raise AssertionError("nobody may fetch it")

    with pytest.raises(EncodingError, match=r"\[\"user\"\].*await request\.auser\(\)") as caught:
        pipeline.invoke_sync({"user": SimpleLazyObject(fetch)})
    assert "register_type" not in str(caught.value)


def test_a_lazy_text_is_refused_with_the_way_to_the_text(pipeline: DjangoPipeline) -> None:
    with pytest.raises(EncodingError, match=r"by str\(\.\.\.\)") as caught:
        pipeline.invoke_sync({"title": gettext_lazy("Runs")})
    assert "register_type" not in str(caught.value)


def test_a_proxy_comes_back_as_the_proxy(
    pipeline: DjangoPipeline, proxy: type[Group], database: str
) -> None:
    crashed(pipeline, {"group": proxy.objects.using(database).create(name="team")})
    pipeline.resume_sync("r")
    assert seen == [(proxy, seen[0][1], "team", database)]


def test_keys_of_any_kind_are_kept(pipeline: DjangoPipeline, group: Group, database: str) -> None:
    key = uuid4().hex
    session = Session(session_key=key, session_data="", expire_date=timezone.now())
    session.save(using=database)
    textual = Group.objects.using(database).create(pk=777, name="a key given as text")
    textual.pk = "777"
    final = pipeline.invoke_sync({"group": group, "s": session, "t": textual}, run_id="r")
    assert final["t"].pk == "777"
    again = pipeline.resume_sync("r")
    assert (again["s"].pk, again["t"].pk) == (key, 777)


def test_a_model_that_is_not_the_installed_one_is_refused() -> None:
    historical = type("Group", (models.Model,), {"__module__": "x", "Meta": _meta("auth")})
    instance = historical(pk=1)
    instance._state.adding = False
    with pytest.raises(EncodingError, match=r"not the model installed as auth\.Group"):
        DEFAULT_CODEC.encode({"group": instance})


def _meta(app_label: str) -> type:
    from django.apps.registry import Apps

    return type("Meta", (), {"app_label": app_label, "apps": Apps()})


def test_an_unknown_model_is_told_and_imports_nothing(
    pipeline: DjangoPipeline, group: Group, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(pipeline, {"group": group})
    assert services.state("r")["group"].model == "auth.Group"
    monkeypatch.delitem(apps.all_models["auth"], "group")
    apps.clear_cache()
    with pytest.raises(CorruptCheckpointError, match="no such model is installed"):
        pipeline.resume_sync("r")
    monkeypatch.undo()
    apps.clear_cache()


def test_instances_work_in_every_store(group: Group) -> None:
    made = Pipeline([prepare, work], durable=True, checkpoint_store=InMemoryStore())
    made = made.bound_to(DjangoPipeline, name="memory", store=DjangoStore)
    crashed(made, {"group": group})
    Group.objects.using(group._state.db).update(name="renamed since")
    assert made.resume_sync("r")["name"] == "renamed since"


def test_a_cache_never_hands_out_what_a_row_was(group: Group) -> None:
    calls = []

    @stage(version="1", reads=("key",))
    async def find(ctx: Context) -> Context:
        calls.append(ctx["key"])
        return ctx.set("group", group)

    made = Pipeline([find], middleware=[CacheMiddleware(InMemoryCache(), ttl=60)])
    made = made.bound_to(DjangoPipeline, name="cached", store=DjangoStore)
    results = [made.invoke_sync({"key": 1})["group"] for _ in range(2)]
    assert results == [group, group]
    assert calls == [1, 1]
