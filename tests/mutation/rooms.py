"""Which modules are broken, and which tests have to notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Modules, and the tests that hold them to their promises, those that notice most first."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    marks: str = "not redis and not soak"
    needs_django: bool = False


_RUNS = (
    "tests/core/runtime/test_driver.py",
    "tests/core/runtime/test_transactions.py",
    "tests/core/runtime/test_durable.py",
    "tests/core/runtime/test_invoke.py",
    "tests/core/runtime/test_store_failures.py",
    "tests/core/runtime/test_callbacks.py",
    "tests/core/runtime/test_cancellation.py",
    "tests/core/runtime/test_stopping.py",
    "tests/core/runtime/test_refused_rows.py",
)

ROOMS: dict[str, Room] = {
    "machine": Room(
        modules=("fluxio/runtime/machine.py",),
        tests=("tests/core/runtime/test_machine.py", *_RUNS),
    ),
    "driver": Room(
        modules=(
            "fluxio/runtime/batch.py",
            "fluxio/runtime/driver.py",
            "fluxio/runtime/ends.py",
        ),
        tests=_RUNS,
    ),
    "recorder": Room(
        modules=("fluxio/runtime/recorder.py", "fluxio/runtime/history.py"),
        tests=(
            "tests/core/runtime/test_recorder.py",
            "tests/core/runtime/test_reading.py",
            *_RUNS,
        ),
    ),
    "codec": Room(
        modules=(
            "fluxio/codec/decoding.py",
            "fluxio/codec/encoding.py",
            "fluxio/codec/envelope.py",
            "fluxio/codec/fields.py",
            "fluxio/codec/json_input.py",
            "fluxio/codec/keyring.py",
            "fluxio/codec/limits.py",
            "fluxio/codec/paths.py",
            "fluxio/codec/registry.py",
            "fluxio/codec/scalars.py",
            "fluxio/codec/secret.py",
            "fluxio/codec/values.py",
        ),
        tests=("tests/core/codec",),
    ),
    "stores": Room(
        modules=(
            "fluxio/store/admission.py",
            "fluxio/store/lone.py",
            "fluxio/store/memory.py",
            "fluxio/store/payload.py",
            "fluxio/store/snapshot.py",
        ),
        tests=(
            "tests/core/stores/test_memory.py",
            "tests/core/stores/test_lone.py",
            "tests/core/stores/test_snapshots.py",
            "tests/core/stores/test_contract.py",
            "tests/core/stores/test_conformance.py",
            *_RUNS,
        ),
    ),
    "redis": Room(
        modules=("fluxio/store/redis/*.py",),
        tests=("tests/core/stores/test_redis.py", "tests/core/stores/test_conformance.py"),
        marks="redis and not soak",
    ),
    "django": Room(
        modules=(
            "fluxio_django/claims.py",
            "fluxio_django/commits.py",
            "fluxio_django/isolation.py",
            "fluxio_django/journal.py",
            "fluxio_django/pieces.py",
            "fluxio_django/prepared.py",
            "fluxio_django/querysets.py",
            "fluxio_django/taking.py",
            "fluxio_django/records.py",
            "fluxio_django/rows.py",
            "fluxio_django/statements.py",
            "fluxio_django/store.py",
            "fluxio_django/together.py",
            "fluxio_django/transactions.py",
            "fluxio_django/turns.py",
            "fluxio_django/verbs.py",
        ),
        tests=(
            "tests/app/test_journal.py",
            "tests/app/test_turns.py",
            "tests/app/test_journal_transactions.py",
            "tests/app/test_isolation.py",
            "tests/app/test_verbs.py",
            "tests/app/test_store.py",
            "tests/app/test_prepared.py",
            "tests/app/test_step_costs.py",
            "tests/app/test_conformance.py",
            "tests/app/test_pipelines_on_databases.py",
            "tests/app/test_tables.py",
            "tests/app/test_recovery.py",
            "tests/app/queueing/test_enqueue.py",
            "tests/app/queueing/test_limits.py",
            "tests/durability/test_claims.py",
        ),
        marks="not soak",
        needs_django=True,
    ),
}
