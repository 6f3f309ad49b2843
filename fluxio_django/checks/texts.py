"""A check that asks whether the database can keep every character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import settings

_CHARACTER_SET = (
    "SELECT character_set_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = %s AND column_name = 'error'"
)


def check_texts(
    app_configs: object, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Names of stages and errors in which a character has no place."""
    alias = settings().database
    if alias not in (databases or ()) or alias not in connections:
        return []
    connection = connections[alias]
    match connection.vendor:
        case "postgresql":
            found, wanted = _answer(connection, "SHOW server_encoding"), "UTF8"
        case "mysql":
            table = apps.get_model("fluxio_django", "Run")._meta.db_table
            found, wanted = _answer(connection, _CHARACTER_SET, table), "utf8mb4"
        case _:
            return []
    if found in (None, wanted):
        return []
    return [
        CheckID.NARROW_TEXT.message(
            f"Texts of runs in database {alias!r} are kept as {found}, which lacks most "
            "characters: a run whose stage or error has one of them fails.",
            hint=f"Convert the tables of fluxio_django to {wanted}, or keep runs in a database "
            "that was created with it.",
        )
    ]


def _answer(connection: BaseDatabaseWrapper, query: str, *values: str) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
    return None if row is None else str(row[0])
