"""The Redis store loses nothing silently, forgets on time, and leaves no noise behind."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.credentials import CredentialProvider

from fluxio.errors import (
    CorruptCheckpointError,
    LeaseLostError,
    NoCheckpointError,
    RunIDInUseError,
    StoreError,
)
from fluxio.store.base import Claim, OpenMode
from fluxio.store.redis import RedisStore, connections, leasing, scripts, twin
from fluxio.store.redis.connections import blocking_twin, connections_to
from fluxio.store.redis.scripts import Script
from fluxio.store.redis.wire import load_row
from fluxio.testing.conformance.samples import (
    MANIFEST,
    PIPELINE,
    VERSION,
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
)
from fluxio.types import RunStatus
from tests.core.stores.subjects import RedisKeys, redis_store
from tests.needs import REDIS

pytestmark = pytest.mark.redis


@pytest.fixture
def keys() -> Iterator[RedisKeys]:
    """A part of the Redis server that belongs to one test."""
    keys = RedisKeys()
    yield keys
    keys.close()


@pytest.fixture
def store(keys: RedisKeys) -> RedisStore:
    """An empty store."""
    return redis_store(keys)


# --- what was lost is reported


LATE_CALLS: dict[str, Callable[[RedisStore, Claim], Awaitable[Any]]] = {
    "a commit": lambda store, claim: store.journal().commit(claim, commit(row(1))),
    "a commit without rows": lambda store, claim: store.journal().commit(claim, commit()),
    "an ending": lambda store, claim: store.journal().commit(
        claim, commit(row(1), status=RunStatus.SUCCEEDED)
    ),
}


@pytest.mark.parametrize("call", LATE_CALLS.values(), ids=LATE_CALLS)
async def test_a_commit_after_a_flush_says_that_the_run_is_gone(
    store: RedisStore, keys: RedisKeys, call: Callable[[RedisStore, Claim], Awaitable[Any]]
) -> None:
    claim = await begin(store.journal(), "run")
    keys.flush()
    with pytest.raises(LeaseLostError, match="flushed, evicted or expired"):
        await call(store, claim)
    assert keys.all() == []


async def test_a_renewal_after_a_flush_makes_no_run(store: RedisStore, keys: RedisKeys) -> None:
    claim = await begin(store.journal(), "run")
    keys.flush()
    await asyncio.to_thread(store.journal().leasing.renew, [claim])
    assert keys.all() == []


async def test_a_flushed_run_cannot_be_taken(store: RedisStore, keys: RedisKeys) -> None:
    await leave(store.journal(), "run")
    keys.flush()
    with pytest.raises(NoCheckpointError):
        await store.journal().open(opening("run", OpenMode.TAKE))
    with pytest.raises(NoCheckpointError):
        await store.journal().last_full("run")
    assert await store.journal().rows("run") == []
    assert await store.load("run") is None


async def test_tokens_do_not_repeat_after_a_flush(store: RedisStore, keys: RedisKeys) -> None:
    ghosts = []
    for _ in range(10):
        ghosts.append(await begin(store.journal(), "run"))
        keys.flush()
    await begin(store.journal(), "run")
    for ghost in ghosts:
        with pytest.raises(LeaseLostError):
            await store.journal().commit(ghost, commit(row(1)))
    tokens = [ghost.token for ghost in ghosts]
    assert tokens == sorted(set(tokens))


async def test_tokens_grow_even_if_the_clock_of_the_server_went_back(
    store: RedisStore, keys: RedisKeys
) -> None:
    claim = await leave(store.journal(), "run")
    ahead = claim.token + 3_600_000_000
    keys.client.hset(keys.run("run"), "token", ahead)
    assert (await store.journal().open(opening("run", OpenMode.TAKE))).token == ahead + 1


async def test_a_lost_manifest_does_not_hide_that_the_version_is_another(
    store: RedisStore, keys: RedisKeys
) -> None:
    await leave(store.journal(), "run")
    for key in keys.all():
        if b":manifest:" in key:
            keys.client.delete(key)
    assert await store.journal().manifest(PIPELINE, VERSION) is None
    changed = opening("run", OpenMode.TAKE, version="0d1e2f3a4b5c")
    with pytest.raises(Exception, match="recorded by version") as caught:
        await store.journal().open(changed)
    assert caught.value.changes == ()


# --- damage


async def test_rows_that_changed_places_are_refused(store: RedisStore, keys: RedisKeys) -> None:
    claim = await begin(store.journal(), "run")
    await store.journal().commit(claim, commit(row(1), row(2)))
    one, two = keys.client.hmget(keys.run("run"), ["row:1", "row:2"])
    keys.client.hset(keys.run("run"), mapping={"row:1": two, "row:2": one})
    with pytest.raises(CorruptCheckpointError) as caught:
        await store.journal().rows("run")
    assert (caught.value.run_id, caught.value.sequence) == ("run", 1)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"[]\n{}", b"[1,2]\n{}", b"null\n", b"\xff\xfe", b"{"]
)
async def test_a_row_that_is_none_is_refused(
    store: RedisStore, keys: RedisKeys, text: bytes
) -> None:
    await begin(store.journal(), "run")
    keys.client.hset(keys.run("run"), "row:0", text)
    with pytest.raises(CorruptCheckpointError):
        await store.journal().rows("run")
    with pytest.raises(CorruptCheckpointError):
        await store.load("run")


async def test_every_cut_through_a_row_is_noticed(store: RedisStore, keys: RedisKeys) -> None:
    await store.save(checkpoint("run", {"n": 1}))
    whole = keys.client.hget(keys.run("run"), "row:0")
    for length in range(len(whole)):
        keys.client.hset(keys.run("run"), "row:0", whole[:length])
        with pytest.raises(CorruptCheckpointError):
            await store.load("run")


@pytest.mark.parametrize("field", ["status", "head", "attempt", "token", "created", "lease"])
async def test_a_record_that_makes_no_sense_is_refused(
    store: RedisStore, keys: RedisKeys, field: str
) -> None:
    await begin(store.journal(), "run")
    keys.client.hset(keys.run("run"), field, "nonsense")
    with pytest.raises(CorruptCheckpointError):
        await store.journal().run("run")


@pytest.mark.parametrize("field", ["created", "updated"])
async def test_a_record_without_a_beginning_is_refused(
    store: RedisStore, keys: RedisKeys, field: str
) -> None:
    await begin(store.journal(), "run")
    keys.client.hset(keys.run("run"), field, "")
    with pytest.raises(CorruptCheckpointError, match="record is damaged"):
        await store.journal().run("run")


async def test_a_claim_that_is_refused_without_a_reason_is_a_store_error(
    store: RedisStore, keys: RedisKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(store.journal(), "run")
    # A script of another release, say, that knows a rule of which we know nothing.
    monkeypatch.setattr(scripts, "OPEN", Script(scripts.OPEN.text.replace("busy or", "true or")))
    await keys.advance(40)
    with pytest.raises(StoreError, match="disagree on who may take run 'run'"):
        await store.journal().open(opening("run", OpenMode.TAKE))


async def test_a_run_to_be_created_needs_a_start_row(store: RedisStore) -> None:
    for mode in (OpenMode.CREATE, OpenMode.RESTART):
        with pytest.raises(ValueError, match="needs a start row"):
            await store.journal().open(replace(opening("run", mode), start=None))
    assert await store.journal().run("run") is None


async def test_somebody_elses_key_is_a_store_error(store: RedisStore, keys: RedisKeys) -> None:
    keys.client.set(keys.run("run"), "not ours")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await begin(store.journal(), "run")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await store.journal().run("run")


# --- how long things stay


def seconds_left(keys: RedisKeys, key: bytes) -> float:
    return keys.client.pttl(key) / 1000


async def test_a_run_stays_for_its_time_after_every_write(keys: RedisKeys) -> None:
    store = redis_store(keys, ttl=500)
    claim = await begin(store.journal(), "run")
    for write in (commit(row(1)), commit(row(2), status=RunStatus.SUCCEEDED)):
        keys.client.pexpire(keys.run("run"), 20_000)
        await store.journal().commit(claim, write)
        assert 490 < seconds_left(keys, keys.run("run")) <= 500


async def test_a_heartbeat_keeps_run_and_manifest(keys: RedisKeys) -> None:
    store = redis_store(keys, ttl=500)
    claim = await begin(store.journal(), "run")
    for key in keys.all():
        keys.client.pexpire(key, 20_000)
    await asyncio.to_thread(store.journal().leasing.renew, [claim])
    assert len(keys.all()) == 2
    assert all(seconds_left(keys, key) > 490 for key in keys.all())


async def test_a_run_that_is_being_executed_outlives_a_short_ttl(keys: RedisKeys) -> None:
    store = redis_store(keys, ttl=5)
    claim = await begin(store.journal(), "run", lease_seconds=30)
    assert 55 < seconds_left(keys, keys.run("run")) <= 60
    await store.journal().commit(claim, commit(row(1)))
    assert 55 < seconds_left(keys, keys.run("run")) <= 60
    await store.journal().commit(claim, commit(row(2), status=RunStatus.SUCCEEDED))
    assert seconds_left(keys, keys.run("run")) <= 5


async def test_without_a_ttl_nothing_expires(keys: RedisKeys) -> None:
    store = redis_store(keys, ttl=None)
    await leave(store.journal(), "run", RunStatus.SUCCEEDED)
    await store.save(checkpoint("snapshot"))
    assert [keys.client.pttl(key) for key in keys.all()] == [-1] * 3


async def test_a_snapshot_expires_too(keys: RedisKeys) -> None:
    await redis_store(keys, ttl=500).save(checkpoint("run"))
    assert 490 < seconds_left(keys, keys.run("run")) <= 500


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_ttl_that_keeps_nothing_is_refused(ttl: int) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        RedisStore(ttl=ttl)


def test_a_ttl_may_be_less_than_a_second() -> None:
    assert RedisStore(ttl=0.5).journal() is not None


async def test_a_snapshot_that_is_saved_over_a_fork_keeps_where_it_was_forked_from(
    store: RedisStore,
) -> None:
    journal = store.journal()
    claim = await begin(journal, "fork", parent="source", parent_sequence=3)
    await journal.commit(claim, commit(row(1), status=RunStatus.FAILED))
    await store.save(checkpoint("fork", ip=7, meta={"step": "charge"}))
    record = await journal.run("fork")
    assert record is not None
    assert (record.parent, record.parent_sequence, record.head) == ("source", 3, 2)
    assert (record.ip, record.step) == (7, "charge")


async def test_a_snapshot_of_a_fork_says_where_it_was_forked_from(store: RedisStore) -> None:
    meta = {"parent": "source", "parent_sequence": 3, "pipeline": "shop", "attempt": 2}
    await store.save(checkpoint("fork", meta=meta))
    record = await store.journal().run("fork")
    assert record is not None
    assert (record.parent, record.parent_sequence, record.pipeline) == ("source", 3, "shop")


async def test_all_keys_are_below_the_prefix(keys: RedisKeys) -> None:
    before = set(keys.client.scan_iter(count=10_000))
    await leave(redis_store(keys).journal(), "run")
    added = set(keys.client.scan_iter(count=10_000)) - before
    ours = {key for key in added if b"fluxio" in key and key.startswith(keys.prefix.encode())}
    assert ours == set(keys.all())
    assert len(ours) == 2


async def test_two_prefixes_are_two_stores(keys: RedisKeys) -> None:
    await redis_store(keys).save(checkpoint("run", {"n": 1}))
    other = RedisStore(url=REDIS.location, key_prefix=f"{keys.prefix}:other")
    assert await other.load("run") is None


def test_a_row_that_is_not_there_is_damage() -> None:
    with pytest.raises(CorruptCheckpointError, match="is missing"):
        load_row("run", 1, None)


# --- leases by the server's clock


async def test_a_short_lease_ends_by_the_clock_of_the_server(store: RedisStore) -> None:
    claim = await begin(store.journal(), "run", lease_seconds=60)
    with pytest.raises(RunIDInUseError):
        await store.journal().open(opening("run", OpenMode.TAKE))
    short = replace(claim, lease_seconds=0.05)
    await store.journal().commit(short, commit(row(1)))
    async with asyncio.timeout(60):
        while True:
            try:
                heir = await store.journal().open(opening("run", OpenMode.TAKE))
                break
            except RunIDInUseError:
                await asyncio.sleep(0)
    assert (heir.previous, heir.token > claim.token) == (RunStatus.RUNNING, True)


async def test_a_commit_renews_the_lease(store: RedisStore, keys: RedisKeys) -> None:
    claim = await begin(store.journal(), "run")
    await keys.advance(25)
    await store.journal().commit(claim, commit(row(1)))
    await keys.advance(25)
    with pytest.raises(RunIDInUseError):
        await store.journal().open(opening("run", OpenMode.TAKE))


# --- one round trip, and repetitions of it


class CountingClient(Redis):
    """Counts commands, and may send each of them twice, as a client does whose answer got lost."""

    sent = 0
    times = 1

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = None
        for _ in range(self.times):
            self.sent += 1
            answer = await super().execute_command(*args, **options)
        return answer


async def test_a_commit_is_one_round_trip(keys: RedisKeys) -> None:
    async with CountingClient.from_url(REDIS.location) as client:
        journal = redis_store(keys, client=client).journal()
        claim = await begin(journal, "run")
        await journal.commit(claim, commit(row(1)))
        before = client.sent
        for sequence in range(2, 12):
            await journal.commit(claim, commit(row(sequence)))
        assert client.sent - before == 10


async def test_a_call_that_is_sent_twice_is_done_once(keys: RedisKeys) -> None:
    async with CountingClient.from_url(REDIS.location) as client:
        client.times = 2
        journal = redis_store(keys, client=client).journal()
        claim = await begin(journal, "run")
        await journal.commit(claim, commit(row(1)))
        await journal.commit(claim, commit(ip=4))
        await journal.commit(claim, commit(row(2), status=RunStatus.FAILED))
        taken = await journal.open(opening("run", OpenMode.TAKE))
        assert (taken.head, taken.previous) == (2, RunStatus.FAILED)
        again = await journal.run("run")
        assert again is not None
        assert (again.token, again.takeovers) == (taken.token, 0)
        assert [it.sequence for it in await journal.rows("run")] == [0, 1, 2]


async def test_a_repetition_does_not_revive_a_run_that_somebody_else_took(
    keys: RedisKeys, store: RedisStore
) -> None:
    claim = await leave(store.journal(), "run", RunStatus.WAITING)
    await store.journal().open(opening("run", OpenMode.TAKE))
    with pytest.raises(LeaseLostError):
        await store.journal().commit(claim, commit(row(1), status=RunStatus.WAITING))


async def test_a_server_that_forgot_the_scripts_is_taught_again(
    store: RedisStore, keys: RedisKeys
) -> None:
    claim = await begin(store.journal(), "run")
    keys.client.script_flush()
    await store.journal().commit(claim, commit(row(1)))
    keys.client.script_flush()
    await keys.advance(25)
    await asyncio.to_thread(store.journal().leasing.renew, [claim])
    await keys.advance(25)
    with pytest.raises(RunIDInUseError):
        await store.journal().open(opening("run", OpenMode.TAKE))


async def test_a_renewal_sends_the_name_of_its_script_and_not_the_text(
    store: RedisStore, keys: RedisKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await begin(store.journal(), "run")
    await asyncio.to_thread(store.journal().leasing.renew, [claim])
    named = SimpleNamespace(digest=leasing.RENEW.digest, text="this is no script")
    monkeypatch.setattr(leasing, "RENEW", named)
    await keys.advance(25)
    await asyncio.to_thread(store.journal().leasing.renew, [claim])
    await keys.advance(25)
    with pytest.raises(RunIDInUseError):
        await store.journal().open(opening("run", OpenMode.TAKE))


async def test_a_renewal_that_the_server_refuses_is_a_store_error(
    store: RedisStore, keys: RedisKeys
) -> None:
    claims = [await begin(store.journal(), run) for run in ("one", "two", "three")]
    await keys.advance(25)
    keys.client.delete(keys.run("two"))
    keys.client.set(keys.run("two"), "not ours")
    with pytest.raises(StoreError, match=r"did not renew 3 leases: .*WRONGTYPE"):
        await asyncio.to_thread(store.journal().leasing.renew, claims)
    # One run that cannot be renewed takes no other one with it.
    keys.client.delete(keys.run("two"))
    await keys.advance(25)
    for run in ("one", "three"):
        with pytest.raises(RunIDInUseError):
            await store.journal().open(opening(run, OpenMode.TAKE))


async def test_a_connection_that_died_is_replaced(store: RedisStore, keys: RedisKeys) -> None:
    claim = await begin(store.journal(), "run")
    client = await store._connections.client()
    keys.client.client_kill_filter(_id=await client.client_id())
    await store.journal().commit(claim, commit(row(1)))
    assert len(await store.journal().rows("run")) == 2


# --- a server that is not there


NOWHERE = "redis://127.0.0.1:1"
CALLS: dict[str, Callable[[RedisStore], Awaitable[Any]]] = {
    "save": lambda store: store.save(checkpoint("run")),
    "load": lambda store: store.load("run"),
    "delete": lambda store: store.delete("run"),
    "exists": lambda store: store.exists("run"),
    "open": lambda store: begin(store.journal(), "run"),
    "commit": lambda store: store.journal().commit(CLAIM, commit(row(1))),
    "run": lambda store: store.journal().run("run"),
    "rows": lambda store: store.journal().rows("run"),
    "last_full": lambda store: store.journal().last_full("run"),
    "manifest": lambda store: store.journal().manifest(PIPELINE, VERSION),
    "renew": lambda store: asyncio.to_thread(store.journal().leasing.renew, [CLAIM]),
}
CLAIM = Claim(
    run_id="run",
    token=1,
    owner="somebody",
    attempt=1,
    head=0,
    lease_seconds=30,
    previous=RunStatus.QUEUED,
)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_server_that_is_not_there_is_a_store_error(
    call: Callable[[RedisStore], Awaitable[Any]],
) -> None:
    async with RedisStore(url=NOWHERE) as store:
        with pytest.raises(StoreError, match="Redis"):
            await call(store)


def test_a_policy_that_the_server_does_not_tell_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="does not tell its maxmemory-policy"):
        RedisStore(url=NOWHERE).eviction_policy()


def test_what_the_server_does_when_its_memory_is_full_is_told(
    keys: RedisKeys, store: RedisStore
) -> None:
    assert store.eviction_policy() == keys.client.info("memory")["maxmemory_policy"]


def test_a_user_who_may_not_ask_for_the_policy_is_told(keys: RedisKeys) -> None:
    user = keys.prefix.replace(":", "-")
    rights = {"categories": ["+@all"], "commands": ["-config"]}
    keys.client.acl_setuser(user, enabled=True, passwords=["+word"], **rights)
    address = urlsplit(REDIS.location)
    login = f"{user}:word@{address.hostname}:{address.port or 6379}"
    try:
        with pytest.raises(StoreError, match=r"maxmemory-policy.*no permissions"):
            RedisStore(url=address._replace(netloc=login).geturl()).eviction_policy()
    finally:
        keys.client.acl_deluser(user)


def test_a_look_for_wishes_to_cancel_needs_no_server() -> None:
    assert RedisStore(url=NOWHERE).journal().leasing.wishes([CLAIM]) == {}


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisStore(url="http://localhost")


# --- clients


async def test_each_event_loop_has_one_client(store: RedisStore) -> None:
    first = await store._connections.client()
    assert await store._connections.client() is first
    elsewhere = await asyncio.to_thread(lambda: asyncio.run(store._connections.client()))
    assert elsewhere is not first


async def test_connections_go_with_their_event_loop(keys: RedisKeys) -> None:
    name = keys.prefix.replace(":", "-")
    store = RedisStore(url=f"{REDIS.location}?client_name={name}", key_prefix=keys.prefix)

    async def visit() -> int:
        await store.exists("run")
        return sum(it["name"] == name for it in keys.client.client_list())

    for _ in range(5):
        assert await asyncio.to_thread(lambda: asyncio.run(visit())) == 1
    assert not any(it["name"] == name for it in keys.client.client_list())
    assert len(store._connections._tenancies) == 1


async def test_clients_of_a_loop_that_just_stopped_are_let_go(store: RedisStore) -> None:
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, store._connections.client())
    loop.close()
    await store._connections.client()
    assert len(store._connections._tenancies) == 1


def connected(keys: RedisKeys, name: str) -> int:
    """How many connections with a name the server has."""
    return sum(it["name"] == name for it in keys.client.client_list())


async def test_a_store_that_is_dropped_closes_its_connections(
    keys: RedisKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_GRACE_SECONDS", 0)
    name = keys.prefix.replace(":", "-")
    store = RedisStore(url=f"{REDIS.location}?client_name={name}", key_prefix=keys.prefix)
    await store.exists("run")
    client = await store._connections.client()  # who holds it as well keeps nothing open
    del store
    gc.collect()
    async with asyncio.timeout(10):
        while connected(keys, name) or connections._closing:
            await asyncio.sleep(0)
    del client


async def test_a_store_that_is_closed_leaves_no_connection(keys: RedisKeys) -> None:
    name = keys.prefix.replace(":", "-")
    store = RedisStore(url=f"{REDIS.location}?client_name={name}", key_prefix=keys.prefix)
    claim = await begin(store.journal(), "run")
    await asyncio.to_thread(store.journal().leasing.renew, [claim])
    clients = await store._connections.client(), store._connections.blocking_client()
    assert connected(keys, name) == len(clients)
    await store.aclose()
    assert connected(keys, name) == 0


async def test_a_closed_store_connects_again(store: RedisStore) -> None:
    await store.save(checkpoint("run", {"n": 1}))
    await store.aclose()
    await store.aclose()
    found = await store.load("run")
    assert found is not None
    assert found.ctx_snapshot == {"n": 1}


async def test_a_given_client_is_used_and_left_open(keys: RedisKeys) -> None:
    async with CountingClient.from_url(REDIS.location) as client:
        async with redis_store(keys, client=client) as store:
            await store.save(checkpoint("run"))
        assert client.sent > 0
        assert await client.ping()


async def test_a_store_on_a_given_client_has_one_blocking_client_until_it_is_closed(
    keys: RedisKeys,
) -> None:
    name = keys.prefix.replace(":", "-")
    async with Redis.from_url(REDIS.location, client_name=name) as client:
        store = redis_store(keys, client=client)
        claim = await begin(store.journal(), "run")
        first = store._connections.blocking_client()
        await asyncio.to_thread(store.journal().leasing.renew, [claim])
        assert store._connections.blocking_client() is first
        assert connected(keys, name) == 2
        await store.aclose()
        assert connected(keys, name) == 1
        assert store._connections.blocking_client() is not first
        await store.aclose()


async def test_a_client_that_decodes_answers_serves_as_well(keys: RedisKeys) -> None:
    async with Redis.from_url(REDIS.location, decode_responses=True) as client:
        store = redis_store(keys, client=client)
        claim = await begin(store.journal(), "run", owner="größe")
        await store.journal().commit(claim, commit(row(1, step="größe"), step="größe"))
        await asyncio.to_thread(store.journal().leasing.renew, [claim])
        record = await store.journal().run("run")
        assert record is not None
        assert (record.owner, record.step, record.token) == ("größe", "größe", claim.token)
        assert await store.journal().rows("run", first=1) == [row(1, step="größe")]
        assert await store.journal().manifest(PIPELINE, VERSION) == MANIFEST
        assert await store.journal().last_full("run") == 0
        await store.aclose()


class Password(CredentialProvider):
    """A name and a password that somebody keeps elsewhere."""

    def get_credentials(self) -> tuple[str, str]:
        return "user", "secret"


SETTINGS: dict[str, dict[str, Any]] = {
    "over the network": {
        "host": "127.0.0.1",
        "port": 1234,
        "db": 7,
        "username": "user",
        "password": "secret",
        "client_name": "worker",
        "socket_timeout": 3.0,
        "socket_connect_timeout": 2.0,
    },
    "by a file": {"unix_socket_path": "/nowhere/redis.sock", "db": 1, "password": "secret"},
    "with a provider": {"host": "127.0.0.1", "credential_provider": Password()},
}


@pytest.mark.parametrize("given", SETTINGS.values(), ids=SETTINGS)
async def test_a_twin_has_the_settings_of_the_other_client(given: dict[str, Any]) -> None:
    client = Redis(**given)
    settings = blocking_twin(client).connection_pool.connection_kwargs
    again = twin(blocking_twin(client)).connection_pool.connection_kwargs
    renamed = {"unix_socket_path": "path"}
    for found in (settings, again):
        for name, value in given.items():
            assert found[renamed.get(name, name)] == value


# --- how long a call may take


def pools(url: str) -> list[Any]:
    """The pools of all clients that a store could open to a server."""
    made_by = connections_to(url)
    client = Redis.from_url(url)
    made = [
        made_by._make_client(),
        made_by._make_blocking_client(),
        blocking_twin(client),
        twin(blocking_twin(client)),
    ]
    return [one.connection_pool for one in made]


def test_no_call_waits_for_ever() -> None:
    for pool in pools("redis://127.0.0.1:1"):
        limits = pool.connection_kwargs
        assert (limits["socket_timeout"], limits["socket_connect_timeout"]) == (30.0, 5.0)


def test_a_limit_in_the_url_comes_before_ours() -> None:
    for pool in pools("redis://127.0.0.1:1?socket_timeout=3&socket_connect_timeout=2"):
        limits = pool.connection_kwargs
        assert (limits["socket_timeout"], limits["socket_connect_timeout"]) == (3.0, 2.0)


def test_a_call_is_repeated_twice_and_soon() -> None:
    for pool in pools("redis://127.0.0.1:1")[:2]:
        retry = pool.connection_kwargs["retry"]
        pauses = [retry._backoff.compute(failures) for failures in (1, 2, 10)]
        assert (retry.get_retries(), pauses) == (2, [0.1, 0.2, 0.5])


def test_a_twin_of_a_secured_connection_is_secured() -> None:
    client = Redis.from_url("rediss://127.0.0.1:1234?ssl_cert_reqs=none")
    pool = blocking_twin(client).connection_pool
    assert pool.connection_class.__name__ == "SSLConnection"
    assert pool.connection_kwargs["ssl_cert_reqs"] == "none"


def test_connections_are_made_when_they_are_needed() -> None:
    made_by = connections_to(NOWHERE)
    assert made_by.blocking_client() is made_by.blocking_client()


# --- other processes


NOISY = """
import asyncio, gc
from fluxio.store.base import Checkpoint
from fluxio.store.redis import RedisStore
from datetime import UTC, datetime

store = RedisStore(url={url!r}, key_prefix={prefix!r})

async def use():
    await store.save(Checkpoint("run", "v", 0, {{"n": 1}}, datetime.now(UTC)))
    await asyncio.gather(*(store.load("run") for _ in range(5)))
    store.journal().leasing.renew([])

async def use_another():
    other = RedisStore(url={url!r}, key_prefix={prefix!r})
    await other.exists("run")
    del other
    gc.collect()
    await asyncio.sleep(0)

asyncio.run(use())
asyncio.run(use())
asyncio.run(use_another())
{end}
print("done")
"""
ENDS = {
    "closed": "asyncio.run(store.aclose())",
    "left": "store.journal().leasing._connections.aclose",
    "dropped": "del store; gc.collect()",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_process_ends_without_noise(keys: RedisKeys, end: str) -> None:
    program = NOISY.format(url=REDIS.location, prefix=keys.prefix, end=end)
    command = [sys.executable, "-X", "dev", "-W", "always::ResourceWarning", "-c", program]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (process.stdout, process.returncode) == ("done\n", 0)
    assert "Event loop is closed" not in process.stderr
    assert "unclosed" not in process.stderr
    assert "never awaited" not in process.stderr
    # How long a callback took, which asyncio tells in this mode, says how busy the machine is.
    told = [line for line in process.stderr.splitlines() if not line.startswith("Executing <")]
    assert told == []


RACE = """
import asyncio, sys
from fluxio.errors import RunIDInUseError
from fluxio.store.redis import RedisStore
from fluxio.testing.conformance.samples import begin

async def race():
    store = RedisStore(url={url!r}, key_prefix={prefix!r})
    await store.exists("ready")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1000):
        try:
            await begin(store.journal(), f"run-{{number}}", owner=sys.argv[1])
        except RunIDInUseError:
            continue
        print(number)

asyncio.run(race())
"""


def test_of_two_processes_exactly_one_gets_each_run(keys: RedisKeys) -> None:
    program = RACE.format(url=REDIS.location, prefix=keys.prefix)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [{int(line) for line in racer.communicate(timeout=60)[0].split()} for racer in racers]
    assert won[0] | won[1] == set(range(1000))
    assert won[0] & won[1] == set()


def test_without_redis_py_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "try:\n    import fluxio.store.redis\n"
        "except ImportError as problem:\n    print(problem)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "fluxio-django[redis]" in process.stdout


def test_importing_fluxio_imports_no_redis() -> None:
    program = "import sys, fluxio, fluxio.store.memory; print('redis' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert process.stdout == "False\n"
