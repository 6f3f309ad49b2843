"""How an index comes onto a table that is large by now, while others write to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.migrations import AddIndex

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"


class AddIndexBesideWriters(AddIndex):
    """An AddIndex that keeps nobody from writing; for migrations with `atomic = False`.

    PostgreSQL builds the index concurrently, MariaDB and MySQL do so by themselves, and SQLite has
    but one writer. Outside of a transaction a migration can be broken off between two indexes: one
    that is there already is left alone the next time, one that PostgreSQL had not finished is made
    anew.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Add the index, unless it is there."""
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        options = _concurrently(connection)
        if not schema_editor.collect_sql and _is_there(connection, model, self.index):
            if not options or _is_valid(connection, self.index):
                return
            schema_editor.remove_index(model, self.index, **options)
        schema_editor.add_index(model, self.index, **options)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Remove the index, unless it is gone."""
        model = from_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if schema_editor.collect_sql or _is_there(connection, model, self.index):
            schema_editor.remove_index(model, self.index, **_concurrently(connection))


def _concurrently(connection: BaseDatabaseWrapper) -> dict[str, bool]:
    """What PostgreSQL's schema editor takes; in a transaction it can only build with locks."""
    able = connection.vendor == "postgresql" and not connection.in_atomic_block
    return {"concurrently": True} if able else {}


def _is_there(
    connection: BaseDatabaseWrapper, model: type[models.Model], index: models.Index
) -> bool:
    with connection.cursor() as cursor:
        known = connection.introspection.get_constraints(cursor, model._meta.db_table)
    return index.name in known


def _is_valid(connection: BaseDatabaseWrapper, index: models.Index) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_VALID, [connection.ops.quote_name(index.name)])
        return bool(cursor.fetchone()[0])
