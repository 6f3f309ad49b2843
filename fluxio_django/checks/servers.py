"""Checks that ask the servers which keep runs: tables, collations, and what Redis throws away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from fluxio.errors import ConfigurationError, StoreError
from fluxio_django.checks.asking import answer_of, database_of_runs
from fluxio_django.checks.ids import CheckID
from fluxio_django.checks.pipelines import built
from fluxio_django.conf import default_store
from fluxio_django.fields import ExactCharField, exact_collation

if TYPE_CHECKING:
    from fluxio.store.base import CheckpointStore

_APP = "fluxio_django"


def check_servers(
    app_configs: object, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Migrations that were not applied; columns that take 'A' for 'a'; a Redis that forgets."""
    connection = database_of_runs(databases)
    if connection is None:
        return []
    found = [_unmigrated(connection), _loose_collation(connection), _forgetful_redis()]
    return [message for message in found if message is not None]


def _unmigrated(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    executor = MigrationExecutor(connection)
    if not executor.recorder.has_table():
        return None  # a new database: whoever migrates it makes our tables, too
    wanted = [key for key in executor.loader.graph.leaf_nodes() if key[0] == _APP]
    missing = [f"{migration}" for migration, _ in executor.migration_plan(wanted)]
    if not missing:
        return None
    return CheckID.UNMIGRATED.message(
        f"Database {connection.alias!r} lacks tables or columns of fluxio_django: "
        f"{len(missing)} migrations are not applied.",
        hint=f"Run: manage.py migrate --database {connection.alias}",
    )


_COLLATIONS = (
    "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() "
    "AND table_name = %s AND column_name = %s AND collation_name <> %s"
)


def _loose_collation(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    exact = exact_collation(connection) if connection.vendor == "mysql" else None
    if exact is None:
        return None
    for model in apps.get_app_config(_APP).get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, ExactCharField) and _differs(
                connection, model._meta.db_table, str(field.column), exact
            ):
                return CheckID.LOOSE_COLLATION.message(
                    f"Column {field.column} of {model._meta.db_table} does not compare byte by "
                    "byte: run ids such as 'A' and 'a' would be taken for one.",
                    hint=f"Change its collation back to {exact}.",
                )
    return None


def _differs(connection: BaseDatabaseWrapper, table: str, column: str, exact: str) -> bool:
    return answer_of(connection, _COLLATIONS, table, column, exact) != "0"


def _forgetful_redis() -> CheckMessage | None:
    for where, store in _stores():
        # Redis is an extra, so its store cannot be asked for by its class here.
        ask = getattr(store, "eviction_policy", None)
        if ask is None:
            continue
        try:
            policy = ask()
        except StoreError:
            continue  # nobody may ask, or nobody answers: that is told when runs are kept
        if policy and policy != "noeviction":
            return CheckID.FORGETFUL_REDIS.message(
                f"The Redis that keeps the runs of {where} throws keys away when its memory is "
                f"full (maxmemory-policy {policy}): recorded steps would be lost.",
                hint="Set maxmemory-policy noeviction there, or give runs a Redis of their own.",
            )
    return None


def _stores() -> list[tuple[str, CheckpointStore]]:
    found = [
        (f"pipeline {name!r}", pipeline.checkpoint_store)
        for name, pipeline in built()
        if pipeline.durable and pipeline.checkpoint_store is not None
    ]
    try:
        return [("FLUXIO['STORE']", default_store()), *found]
    except ConfigurationError:  # told by another check
        return found
