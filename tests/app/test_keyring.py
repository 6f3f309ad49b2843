"""FLUXIO["KEYRING"]: what databases keep is sealed, and without keys nothing is touched."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from fluxio import Context, Pipeline, stage
from fluxio.codec import Keyring
from fluxio.errors import ConfigurationError, CorruptCheckpointError
from fluxio.testing.conformance.samples import commit, opening, step_row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore
from fluxio_django.commits import Committing
from fluxio_django.conf import project_keyring
from fluxio_django.log import read_page
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline
from tests.app.checks.found import found
from tests.core.stores.subjects import RedisKeys
from tests.shown import shown

CANARY = "canary-4711"
OLD, NEW = base64.b64encode(bytes(32)).decode(), base64.b64encode(bytes(range(32))).decode()
KEYRING = Keyring(keys={"a": bytes(range(32))})
executed: list[str] = []


def give_keyring() -> Keyring:
    return KEYRING


def give_nothing() -> None:
    return None


def fail() -> Keyring:
    raise RuntimeError(f"no key {CANARY}")


@stage(version="1")
def put(ctx: Context) -> Context:
    executed.append("put")
    return ctx.set("card", CANARY)


@stage(version="1", transactional=True)
def gate(ctx: Context) -> Context:
    executed.append("gate")
    if not ctx.get("open"):
        raise ValueError("closed")
    return ctx.set("done", True)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    executed.clear()
    yield
    project_keyring.cache_clear()


def pipeline(database: str) -> DjangoPipeline:
    made = Pipeline([put, gate], durable=True, checkpoint_store=DjangoStore(database))
    return made.bound_to(DjangoPipeline, name="p", store=lambda: DjangoStore(database))


def stop_at_gate(database: str) -> None:
    with pytest.raises(ValueError, match="closed"):
        pipeline(database).invoke_sync({"start": CANARY}, run_id="r")
    executed.clear()


def raw(database: str) -> str:
    kept = Checkpoint.objects.using(database).values_list("payload", "digest")
    return str(list(kept))


def test_what_a_database_keeps_is_encrypted_and_comes_back(database: str) -> None:
    with override_settings(FLUXIO={"KEYRING": {"2026": NEW}, "DATABASE": database}):
        stop_at_gate(database)
        assert CANARY not in raw(database)
        fork = pipeline(database).fork_sync("r", from_step="put", patch={"open": True})
        assert dict(fork) == {"start": CANARY, "open": True, "card": CANARY, "done": True}
        assert CANARY not in raw(database)
        page = read_page(Run.objects.using(database).get(run_id="r"))
        assert [line.damage for line in page.lines] == ["", "", ""]
        assert page.lines[1].writes == {"card": CANARY}


def test_without_the_key_nothing_runs_and_nothing_is_shown(database: str) -> None:
    with override_settings(FLUXIO={"KEYRING": {"2026": NEW}, "DATABASE": database}):
        stop_at_gate(database)
    for keys in (None, {"2026": OLD}, {"2027": NEW}):
        with override_settings(FLUXIO={"KEYRING": keys, "DATABASE": database}):
            with pytest.raises(CorruptCheckpointError):
                pipeline(database).resume_sync("r")
            page = read_page(Run.objects.using(database).get(run_id="r"))
            assert all(line.damage for line in page.lines)
    assert executed == []
    with override_settings(FLUXIO={"KEYRING": {"2027": OLD, "2026": NEW}, "DATABASE": database}):
        assert len(pipeline(database).history_sync("r")) == 3


def test_a_queued_run_is_encrypted_from_the_start(database: str) -> None:
    fluxio = {"KEYRING": {"2026": NEW}, "DATABASE": database, "DISPATCHER": "eager"}
    with override_settings(FLUXIO=fluxio):
        pipeline(database).enqueue_sync({"start": CANARY}, "queued")
        assert Checkpoint.objects.using(database).exists()
        assert CANARY not in raw(database)


def test_a_commit_whose_answer_was_lost_is_recognised_though_it_is_sealed_anew(
    database: str,
) -> None:
    with override_settings(FLUXIO={"KEYRING": {"2026": NEW}}):
        journal = DjangoStore(database).journal()
        claim = journal.open_blocking(opening("r"))
        work = commit(step_row("r", 1, {"a": 1}), status=RunStatus.SUCCEEDED)
        lost = Committing(DjangoStore(database).tables, claim, work)
        lost()
        assert lost.was_applied()
        other = commit(step_row("r", 1, {"a": 2}), status=RunStatus.SUCCEEDED)
        assert not Committing(DjangoStore(database).tables, claim, other).was_applied()


# --- where the keys come from

PATH = "tests.app.test_keyring"


@pytest.mark.parametrize(
    ("chosen", "first"),
    [
        (KEYRING, "a"),
        (f"{PATH}.KEYRING", "a"),
        (f"{PATH}.give_keyring", "a"),
        (give_keyring, "a"),
        ({"2026": NEW, "2025": OLD}, "2026"),
    ],
    ids=["object", "path", "path of a function", "function", "keys"],
)
def test_the_keys_come_from_wherever_the_setting_leads(chosen: Any, first: str) -> None:
    with override_settings(FLUXIO={"KEYRING": chosen}):
        keyring = project_keyring()
        assert keyring is not None
        assert next(iter(keyring.keys)) == first
        assert "fluxio.E008" not in found()


def test_without_the_setting_there_are_no_keys() -> None:
    with override_settings(FLUXIO={}):
        assert project_keyring() is None


@pytest.mark.parametrize(
    "chosen",
    [
        f"{PATH}.MISSING",
        f"{PATH}.give_nothing",
        f"{PATH}.CANARY",
        "no_dots",
        fail,
        {},
        {"2026": "short"},
        {"2026": base64.b64encode(b"short").decode()},
        {"2026": bytes(32)},
        {"a:b": NEW},
        3,
        "",
    ],
    ids=shown,
)
@pytest.mark.django_db(transaction=True)
def test_a_setting_that_leads_to_no_keys_stores_nothing(chosen: Any) -> None:
    with override_settings(FLUXIO={"KEYRING": chosen}):
        assert found()["fluxio.E008"].hint
        with pytest.raises(ConfigurationError) as refused:
            pipeline("default").invoke_sync({"start": CANARY}, run_id="r")
        assert CANARY not in str(refused.value)
    assert not Run.objects.exists()
    assert executed == []


@pytest.mark.redis
async def test_the_redis_store_of_the_project_seals_with_the_same_keys() -> None:
    from fluxio_django import DjangoRedisStore
    from tests.app.test_redis_store import CACHES

    keys = RedisKeys()
    with override_settings(CACHES=CACHES, FLUXIO={"KEYRING": {"2026": NEW}}):
        store = DjangoRedisStore("runs", key_prefix=keys.prefix)
        with pytest.raises(ValueError, match="closed"):
            await Pipeline(
                [put, stage(version="1")(gate.function)], durable=True, checkpoint_store=store
            ).invoke({"start": CANARY}, run_id="r")
        kept = str(keys.client.hgetall(keys.run("r")))
        assert "row:1" in kept
        assert CANARY not in kept
        own = DjangoRedisStore("runs", key_prefix=keys.prefix, keyring=KEYRING)
        with pytest.raises(CorruptCheckpointError):
            await own.load("r")
        await store.aclose()
        await own.aclose()
    keys.close()
