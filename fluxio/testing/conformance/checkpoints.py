"""The four methods: what every store promises, however little else it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fluxio.errors import FluxioError
from fluxio.store.base import Checkpoint, CheckpointStore
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import same, true
from fluxio.testing.conformance.samples import (
    LOOKALIKES,
    MOMENT,
    OTHER_VERSION,
    PLAIN_VALUES,
    RUN_IDS,
    TYPED_VALUES,
    checkpoint,
)

TOPIC = Topic("checkpoints")


async def loaded(store: CheckpointStore, run_id: str) -> Checkpoint:
    """The newest checkpoint of a run that must be there."""
    found = await store.load(run_id)
    if found is None:
        raise AssertionError(f"load({run_id!r}) must find the checkpoint that was saved.")
    return found


@TOPIC.promise("An unknown run has no checkpoint.")
async def an_unknown_run_loads_as_none(subject: Subject) -> None:
    same(await subject.store.load("nobody"), None, "load of an unknown run")


@TOPIC.promise("An unknown run does not exist.")
async def an_unknown_run_does_not_exist(subject: Subject) -> None:
    same(await subject.store.exists("nobody"), False, "exists of an unknown run")


@TOPIC.promise("Deleting an unknown run is fine.")
async def deleting_an_unknown_run_is_fine(subject: Subject) -> None:
    await subject.store.delete("nobody")
    same(await subject.store.exists("nobody"), False, "exists after deleting nothing")


@TOPIC.promise("Looking for a run does not make one.")
async def looking_makes_no_run(subject: Subject) -> None:
    await subject.store.load("ghost")
    same(await subject.store.exists("ghost"), False, "exists after a mere load")


@TOPIC.promise("A saved run exists.")
async def a_saved_run_exists(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    same(await subject.store.exists("run"), True, "exists after save")


_FIELDS: dict[str, Callable[[Checkpoint], Any]] = {
    "run_id": lambda it: it.run_id,
    "pipeline_version": lambda it: it.pipeline_version,
    "ip": lambda it: it.ip,
    "ctx_snapshot": lambda it: it.ctx_snapshot,
    "created_at": lambda it: it.created_at,
    "error": lambda it: it.error,
}


@TOPIC.promise("Every field of a checkpoint comes back as it was saved.", over=_FIELDS)
async def a_field_comes_back(subject: Subject, field: Callable[[Checkpoint], Any]) -> None:
    saved = checkpoint("run", {"total": 42}, ip=3)
    await subject.store.save(saved)
    same(field(await loaded(subject.store, "run")), field(saved), "the field that was loaded")


@TOPIC.promise("A checkpoint of a failure comes back as one.")
async def the_error_flag_comes_back(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", error=True))
    same((await loaded(subject.store, "run")).error, True, "the error flag")


_META: dict[str, dict[str, Any]] = {
    "empty": {},
    "facts": {"status": "failed", "step": "charge", "attempt": 2, "pipeline": "shop.checkout"},
    "nested": {"error": {"type": "ValueError", "lines": [1, 2.5, None, True]}},
    "text": {"note": '\u00e9\U0001f680 \x00 "quoted"', "": "empty key"},
}


@TOPIC.promise("What the runtime keeps in `meta` comes back whole.", over=_META)
async def meta_comes_back(subject: Subject, meta: dict[str, Any]) -> None:
    await subject.store.save(checkpoint("run", meta=meta))
    found = (await loaded(subject.store, "run")).meta
    same({key: found.get(key) for key in meta}, meta, "the entries of meta")


@TOPIC.promise(
    "Any instruction pointer is kept.",
    over={"0": 0, "1": 1, "100,000": 100_000, "2**31": 2**31 - 1},
)
async def an_instruction_pointer_is_kept(subject: Subject, ip: int) -> None:
    await subject.store.save(checkpoint("run", ip=ip))
    same((await loaded(subject.store, "run")).ip, ip, "the instruction pointer")


@TOPIC.promise("Times keep their microseconds and their zone.")
async def times_are_exact(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    found = (await loaded(subject.store, "run")).created_at
    same(found.isoformat(), MOMENT.isoformat(), "created_at")


@TOPIC.promise("An empty context is a context.")
async def an_empty_context_is_kept(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {}))
    same((await loaded(subject.store, "run")).ctx_snapshot, {}, "the context")


@TOPIC.promise("Keys keep their order.")
async def keys_keep_their_order(subject: Subject) -> None:
    values = {"b": 1, "a": 2, "10": 3, "9": 4}
    await subject.store.save(checkpoint("run", values))
    same(list((await loaded(subject.store, "run")).ctx_snapshot), list(values), "the keys")


@TOPIC.promise("The newest checkpoint of a run is the one that is loaded.")
async def the_newest_checkpoint_wins(subject: Subject) -> None:
    for step in range(5):
        await subject.store.save(checkpoint("run", {"step": step}, ip=step))
    found = await loaded(subject.store, "run")
    same((found.ip, found.ctx_snapshot), (4, {"step": 4}), "the newest checkpoint")


@TOPIC.promise("A newer checkpoint replaces the whole state, not only the keys it has.")
async def a_newer_checkpoint_replaces_all_keys(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"old": 1, "both": 1}))
    await subject.store.save(checkpoint("run", {"both": 2}))
    same((await loaded(subject.store, "run")).ctx_snapshot, {"both": 2}, "the newest state")


@TOPIC.promise("A run can be saved with another version of its pipeline.")
async def a_newer_version_is_kept(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    await subject.store.save(checkpoint("run", pipeline_version=OTHER_VERSION))
    found = (await loaded(subject.store, "run")).pipeline_version
    same(found, OTHER_VERSION, "the version of the newest checkpoint")


@TOPIC.promise("Loading twice gives the same twice.")
async def loading_changes_nothing(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"items": [1, 2]}))
    first = await loaded(subject.store, "run")
    same(await loaded(subject.store, "run"), first, "the second load")


@TOPIC.promise("A deleted run is gone.")
async def a_deleted_run_is_gone(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    await subject.store.delete("run")
    same(await subject.store.load("run"), None, "load after delete")
    same(await subject.store.exists("run"), False, "exists after delete")


@TOPIC.promise("Deleting twice is fine.")
async def deleting_twice_is_fine(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    await subject.store.delete("run")
    await subject.store.delete("run")
    same(await subject.store.exists("run"), False, "exists after two deletes")


@TOPIC.promise("A run that was deleted can begin anew, without anything of the old one.")
async def a_deleted_run_can_begin_anew(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"old": 1}, ip=9))
    await subject.store.delete("run")
    await subject.store.save(checkpoint("run", {"new": 2}))
    found = await loaded(subject.store, "run")
    same((found.ip, found.ctx_snapshot), (0, {"new": 2}), "the checkpoint after beginning anew")


@TOPIC.promise("Deleting one run leaves the others.")
async def deleting_leaves_other_runs(subject: Subject) -> None:
    await subject.store.save(checkpoint("one", {"n": 1}))
    await subject.store.save(checkpoint("two", {"n": 2}))
    await subject.store.delete("one")
    same((await loaded(subject.store, "two")).ctx_snapshot, {"n": 2}, "the run that stays")


@TOPIC.promise("Many runs are kept apart.")
async def many_runs_are_kept_apart(subject: Subject) -> None:
    for number in range(50):
        await subject.store.save(checkpoint(f"run-{number}", {"number": number}))
    for number in range(50):
        found = await loaded(subject.store, f"run-{number}")
        same(found.ctx_snapshot, {"number": number}, f"the state of run-{number}")


@TOPIC.promise("Every allowed run id works in all four methods.", over=RUN_IDS)
async def an_id_works(subject: Subject, run_id: str) -> None:
    await subject.store.save(checkpoint(run_id, {"id": run_id}))
    found = await loaded(subject.store, run_id)
    same((found.run_id, found.ctx_snapshot), (run_id, {"id": run_id}), "what was loaded")
    same(await subject.store.exists(run_id), True, "exists")
    await subject.store.delete(run_id)
    same(await subject.store.exists(run_id), False, "exists after delete")


@TOPIC.promise("Ids that look alike are different runs.", over=LOOKALIKES)
async def lookalikes_are_different_runs(subject: Subject, pair: tuple[str, str]) -> None:
    for saved, other in (pair, pair[::-1]):
        if not saved.isascii() or " " in saved:
            continue
        await subject.store.save(checkpoint(saved, {"id": saved}))
        true(not await _finds(subject.store, other), f"{other!r} is not taken for {saved!r}")
        await _try_to_delete(subject.store, other)
        same(await subject.store.exists(saved), True, f"{saved!r} after deleting {other!r}")
        await subject.store.delete(saved)


async def _finds(store: CheckpointStore, run_id: str) -> bool:
    """Whether both ways of looking find the run; an id that is not allowed may be refused."""
    try:
        return await store.exists(run_id) or await store.load(run_id) is not None
    except FluxioError:
        return False


async def _try_to_delete(store: CheckpointStore, run_id: str) -> None:
    try:
        await store.delete(run_id)
    except FluxioError:
        return


@TOPIC.promise("A value of JSON comes back equal and of the same type.", over=PLAIN_VALUES)
async def a_plain_value_comes_back(subject: Subject, value: Any) -> None:
    await subject.store.save(checkpoint("run", {"value": value}))
    found = (await loaded(subject.store, "run")).ctx_snapshot
    same(found, {"value": value}, "the context that was loaded")


@TOPIC.promise(
    "A value that JSON has no words for comes back equal and of the same type, or is refused.",
    over=TYPED_VALUES,
)
async def a_typed_value_is_never_altered(subject: Subject, value: Any) -> None:
    try:
        await subject.store.save(checkpoint("run", {"value": value}))
    except FluxioError:
        return
    found = (await loaded(subject.store, "run")).ctx_snapshot
    same(found, {"value": value}, "the context that was loaded")


@TOPIC.promise(
    "A store with a journal keeps every type of the codec.", Capability.JOURNAL, over=TYPED_VALUES
)
async def a_typed_value_comes_back(subject: Subject, value: Any) -> None:
    await subject.store.save(checkpoint("run", {"value": value}))
    found = (await loaded(subject.store, "run")).ctx_snapshot
    same(found, {"value": value}, "the context that was loaded")


@TOPIC.promise(
    "A value that cannot be stored is refused and leaves the run as it was.", Capability.JOURNAL
)
async def an_unknown_type_is_refused(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"value": 1}))
    try:
        await subject.store.save(checkpoint("run", {"value": object()}))
    except FluxioError:
        found = (await loaded(subject.store, "run")).ctx_snapshot
        same(found, {"value": 1}, "the state after the refusal")
        return
    raise AssertionError("save must refuse a value that the codec does not know.")


@TOPIC.promise("Changing a value after saving it changes nothing in the store.", Capability.JOURNAL)
async def saved_values_are_independent(subject: Subject) -> None:
    values = {"items": [1]}
    await subject.store.save(replace(checkpoint("run"), ctx_snapshot=values))
    values["items"].append(2)
    found = (await loaded(subject.store, "run")).ctx_snapshot
    same(found, {"items": [1]}, "the state after changing what was saved")


@TOPIC.promise("Changing a loaded value changes nothing in the store.", Capability.JOURNAL)
async def loaded_values_are_independent(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"items": [1]}))
    (await loaded(subject.store, "run")).ctx_snapshot["items"].append(2)
    found = (await loaded(subject.store, "run")).ctx_snapshot
    same(found, {"items": [1]}, "the state after changing what was loaded")


@TOPIC.promise("Runs can be saved at the same time.")
async def runs_are_saved_side_by_side(subject: Subject) -> None:
    names = [f"run-{number}" for number in range(30)]
    await asyncio.gather(*(subject.store.save(checkpoint(it, {"id": it})) for it in names))
    found = await asyncio.gather(*(loaded(subject.store, name) for name in names))
    same([it.ctx_snapshot["id"] for it in found], names, "the states of all runs")
