"""How the tables are emptied after a test whose transactions were real."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import Style
from django.db.backends.base.base import BaseDatabaseWrapper

from fluxio_django.journal import forget_noted_versions

_KEPT = {ContentType._meta.db_table, Permission._meta.db_table}
"""What `migrate` has filled, and no test changes."""


def statements(style: Style, connection: BaseDatabaseWrapper, **options: Any) -> list[str]:
    """What empties the tables that tests write to, without giving them new files.

    TRUNCATE makes PostgreSQL give each table and each index a new file, and filling the tables that
    `migrate` fills takes dozens of statements: both took longer than most tests do.
    """
    assert not options["reset_sequences"], "numbers go on after a test: do not rely on them"
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [name for name in names if name not in _KEPT]
    if connection.vendor == "postgresql":
        return [f"DELETE FROM {connection.ops.quote_name(table)};" for table in tables]
    return list(connection.ops.sql_flush(style, tables))


def _emptied(*_: Any, **__: Any) -> None:
    forget_noted_versions()


@contextmanager
def quickly_emptied() -> Iterator[None]:
    """Have Django's `flush`, which ends such tests, work like that."""
    with pytest.MonkeyPatch.context() as patch:
        module = "django.core.management.commands.flush"
        patch.setattr(f"{module}.sql_flush", statements)
        # Of those who hear of it one has something to do: what else they make has been kept.
        patch.setattr(f"{module}.emit_post_migrate_signal", _emptied)
        yield
