"""Defects in what is recorded, and in the order in which it is."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from fluxio import pipeline
from fluxio.codec import Codec, envelope
from fluxio.compiler import compilation
from fluxio.program import MAIN_LANE, End
from fluxio.runtime import machine
from fluxio.runtime.driver import Driver
from fluxio.runtime.outcomes import Succeeded
from fluxio.runtime.recorder import Recorder
from fluxio.runtime.step import Step
from fluxio.types import OnConflict, RunStatus
from fluxio_django import querysets
from tests.durability.defects.planting import defect, swap

_SWEEP = "tests/durability/test_kill_sweep.py::test_a_run_killed"
_BETWEEN = f"{_SWEEP}_between_any_two_statements_goes_on_and_repeats_nothing_recorded"
_SOMEWHERE = f"{_SWEEP}_at_any_line_goes_on_and_repeats_nothing_recorded"
_GUARANTEES = "tests/core/guarantees"
_ENDINGS = "tests/durability/test_endings.py"
_DAMAGE = "tests/durability/test_damage.py::test_a_row_that_was_changed_is_found_out"


@defect(f"{_GUARANTEES}/test_g11_siblings.py")
def siblings_live_on() -> None:
    """When a branch fails the others are left to themselves."""

    async def stop(driver: Any, tasks: Sequence[Any]) -> list[Any]:
        for task in tasks:
            driver._tasks.pop(task, None)
        return []

    swap(Driver, "_stop", lambda original: stop)


@defect(f"{_BETWEEN}[default-linear]")
def values_become_texts() -> None:
    """What JSON does not know is written as `str()` writes it."""

    def flat(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): flat(one) for key, one in value.items()}
        if isinstance(value, list):
            return [flat(one) for one in value]
        known = value is None or isinstance(value, str | int | float | bool)
        return value if known else str(value)

    def make(encode: Any) -> Any:
        return lambda codec, value, *place, **named: encode(codec, flat(value), *place, **named)

    swap(Codec, "encode", make)


@defect(f"{_BETWEEN}[default-linear]")
def event_before_checkpoint() -> None:
    """Callbacks hear of a step before its checkpoint is durable."""

    def make(commit: Any) -> Any:
        async def early(driver: Any, batch: Any) -> Any:
            for outcome, context in batch.told:
                if isinstance(outcome, Succeeded):
                    driver._scene.announcer.succeeded(outcome, context)
            for _ in range(3):  # so that they hear it
                await asyncio.sleep(0)
            return await commit(driver, batch)

        return early

    swap(Driver, "_commit", make)


@defect(f"{_BETWEEN}[default-plain]")
def route_not_stored() -> None:
    """A router's decision is not recorded with its success."""

    def make(text: Any) -> Any:
        return lambda recorder, outcome: text(recorder, replace(outcome, route=None))

    swap(Recorder, "step_text", make)


@defect(f"{_ENDINGS}::test_a_failure_is_recorded_where_it_happened[default]")
def error_row_skipped() -> None:
    """The failure of a stage leaves a status, but no row."""

    def make(prepare: Any) -> Any:
        def without(recorder: Any, entries: Any, state: Any, ending: Any = None) -> Any:
            commit = prepare(recorder, entries, state, ending)
            failed = ending is not None and ending.status is RunStatus.FAILED
            return replace(commit, rows=commit.rows[:-1]) if failed else commit

        return without

    swap(Recorder, "prepare", make)


@defect(f"{_BETWEEN}[default-linear]")
def idempotency_key_of_each_try() -> None:
    """The idempotency key counts the tries."""

    def make(key: property) -> property:
        return property(lambda step: f"{key.fget(step)}-{step.attempt}")  # type: ignore[misc]

    swap(Step, "idempotency_key", make)


@defect(f"{_BETWEEN}[default-background]", f"{_SOMEWHERE}[default-background]")
def background_abandoned() -> None:
    """A run is over when its own line of control is, whatever goes on beside it."""

    def finished(program: Any, state: Any) -> bool:
        return isinstance(program.instructions[state[MAIN_LANE].ip], End)

    swap(machine, "is_finished", lambda original: finished)


@defect(f"{_DAMAGE}_and_nothing_runs[default]")
def digest_unchecked() -> None:
    """A row is taken for what it says."""
    trusting = SimpleNamespace(compare_digest=lambda one, other: True)
    swap(envelope, "hmac", lambda module: trusting)


@defect(f"{_ENDINGS}::test_a_run_of_other_code_is_refused_before_anything_runs[default]")
def version_without_code() -> None:
    """A pipeline's version covers its structure only."""
    swap(compilation, "code_fingerprint", lambda original: lambda function: "any code")


@defect(f"{_BETWEEN}[default-linear]")
def half_commit() -> None:
    """On SQLite each statement of a commit is durable by itself."""

    def halves(connection: Any, work: Any) -> int:
        changed = 0
        for statement, parameters in work:
            sent = statement.replace("%s", "?")
            changed = connection.connection.execute(sent, parameters).rowcount
        return changed

    swap(querysets, "transact", lambda original: halves)


@defect(f"{_BETWEEN}[default-linear]")
def redelivery_restarts() -> None:
    """A message that is delivered twice begins the run again."""

    def make(policy: Any) -> Any:
        def forgetful(value: Any) -> OnConflict:
            chosen: OnConflict = policy(value)
            return OnConflict.RESTART if chosen is OnConflict.RESUME else chosen

        return forgetful

    swap(pipeline, "_policy", make)
