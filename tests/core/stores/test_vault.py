"""Under a keyring a store keeps nothing in the clear, and gives nothing without the right key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, CorruptCheckpointError, InMemoryStore, Pipeline, stage
from fluxio.codec import Keyring
from fluxio.store.vault import lock_row, unlock_row
from fluxio.testing.conformance.samples import row, start_row
from tests.core.stores.subjects import RedisKeys, redis_store

CANARY = "canary-4711"
OLD, NEW, OTHER = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
ENCRYPTED = Keyring(keys={"2025": OLD})
SIGNED = Keyring(keys={"2025": OLD}, encrypt=False)
ROTATED = Keyring(keys={"2026": NEW, "2025": OLD})

executed: list[str] = []
closed = True


@stage(version="1")
async def put(ctx: Context) -> Context:
    executed.append("put")
    return ctx.set("card", {"number": CANARY})


@stage(version="1")
async def gate(ctx: Context) -> Context:
    executed.append("gate")
    if closed:
        raise ValueError("closed")
    return ctx.set("done", True)


class Place:
    """Where rows are kept, whatever keys the store above them has."""

    def __init__(self, kind: str) -> None:
        self.keys = RedisKeys() if kind == "redis" else None
        self._logs: Any = None

    def store(self, keyring: Keyring | None) -> CheckpointStore:
        if self.keys is not None:
            return redis_store(self.keys, keyring=keyring)
        store = InMemoryStore(keyring=keyring)
        self._logs = store._journal._logs = self._logs or store._journal._logs
        return store

    def raw(self) -> str:
        """All that is kept."""
        if self.keys is None:
            return str(self._logs)
        return str([self.keys.client.hgetall(key) for key in self.keys.all() if b":run:" in key])


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An empty place of each kind."""
    global closed
    made = Place(request.param)
    closed = True
    executed.clear()
    yield made
    if made.keys is not None:
        made.keys.close()


def pipeline(store: CheckpointStore) -> Pipeline:
    return Pipeline([put, gate], durable=True, checkpoint_store=store, name="p")


async def stop_at_gate(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="closed"):
        await pipeline(store).invoke({"start": CANARY}, run_id="r")
    executed.clear()


async def go_on(store: CheckpointStore) -> dict[str, Any]:
    global closed
    closed = False
    return dict(await pipeline(store).invoke({}, run_id="r", resume=True))


WHOLE = {"start": CANARY, "card": {"number": CANARY}, "done": True}


async def test_what_is_encrypted_is_nowhere_in_the_clear_and_comes_back(place: Place) -> None:
    await stop_at_gate(place.store(ENCRYPTED))
    assert CANARY not in place.raw()
    assert await go_on(place.store(ENCRYPTED)) == WHOLE
    assert CANARY not in place.raw()
    assert executed == ["gate"]
    loaded = await place.store(ENCRYPTED).load("r")
    assert loaded is not None
    assert loaded.ctx_snapshot == WHOLE


async def test_without_a_keyring_it_is_in_the_clear(place: Place) -> None:
    await stop_at_gate(place.store(None))
    assert CANARY in place.raw()


async def test_a_snapshot_is_encrypted_too(place: Place) -> None:
    store = place.store(ENCRYPTED)
    await stop_at_gate(store)
    kept = await store.load("r")
    assert kept is not None
    await store.save(kept)
    assert CANARY not in place.raw()
    assert await store.load("r") == kept


@pytest.mark.security(13)
@pytest.mark.parametrize(
    ("written", "read", "reason"),
    [
        (ENCRYPTED, None, "no keyring is configured"),
        (ENCRYPTED, Keyring(keys={"2026": NEW}), "which the keyring does not have"),
        (ENCRYPTED, Keyring(keys={"2025": OTHER}), "does not open with the key"),
        (SIGNED, None, "no keyring is configured"),
        (SIGNED, ENCRYPTED, "demands encryption"),
        (None, ENCRYPTED, "neither signed nor encrypted"),
        (None, SIGNED, "neither signed nor encrypted"),
    ],
    ids=["none", "missing", "wrong", "signed, none", "signed only", "plain", "plain, signed"],
)
async def test_without_the_right_key_nothing_runs_and_the_run_stays_as_it_was(
    place: Place, written: Keyring | None, read: Keyring | None, reason: str
) -> None:
    await stop_at_gate(place.store(written))
    before = place.raw()
    for attempt in (
        lambda: pipeline(place.store(read)).invoke({}, run_id="r", resume=True),
        lambda: pipeline(place.store(read)).replay("r"),
        lambda: pipeline(place.store(read)).history("r"),
        lambda: pipeline(place.store(read)).state("r"),
        lambda: place.store(read).load("r"),
    ):
        with pytest.raises(CorruptCheckpointError, match=reason):
            await attempt()
    assert executed == []
    assert before.count("payload") == place.raw().count("payload")
    assert await go_on(place.store(written)) == WHOLE


@pytest.mark.security(13)
async def test_keys_can_be_rotated_while_runs_are_open(place: Place) -> None:
    await stop_at_gate(place.store(ENCRYPTED))
    assert await go_on(place.store(ROTATED)) == WHOLE
    with pytest.raises(CorruptCheckpointError, match="'2026', which the keyring does not have"):
        await pipeline(place.store(ENCRYPTED)).history("r")


async def test_runs_from_before_the_keyring_go_on_where_that_is_allowed(place: Place) -> None:
    lenient = Keyring(keys={"2026": NEW}, accept_unsealed=True)
    await stop_at_gate(place.store(None))
    assert await go_on(place.store(lenient)) == WHOLE
    kinds = [entry.kind.value for entry in await pipeline(place.store(lenient)).history("r")]
    assert kinds == ["start", "step", "error", "step"]
    with pytest.raises(CorruptCheckpointError):
        await pipeline(place.store(Keyring(keys={"2026": NEW}))).history("r")


def test_a_locked_row_opens_in_its_own_place_only() -> None:
    one = row(1)
    locked = lock_row("r", one, ENCRYPTED)
    assert unlock_row("r", locked, ENCRYPTED) == one
    elsewhere = ("other", locked), ("r", replace(locked, sequence=2)), ("r", replace(locked, ip=9))
    for run_id, moved in elsewhere:
        with pytest.raises(CorruptCheckpointError):
            unlock_row(run_id, moved, ENCRYPTED)


def test_a_row_is_never_locked_twice_in_the_same_way_unless_it_is_only_signed() -> None:
    start = start_row("r", {"a": CANARY})
    assert lock_row("r", start, ENCRYPTED) != lock_row("r", start, ENCRYPTED)
    assert lock_row("r", start, SIGNED) == lock_row("r", start, SIGNED)
    assert lock_row("r", start, None) is start
    assert unlock_row("r", start, None) is start


def test_what_pretends_to_be_plain_is_not_let_through_unread() -> None:
    lenient = Keyring(keys={"2025": OLD}, accept_unsealed=True)
    plain = start_row("r", {"a": 1})
    assert unlock_row("r", plain, lenient) is plain
    with pytest.raises(CorruptCheckpointError):
        unlock_row("r", lock_row("r", plain, ROTATED), lenient)
