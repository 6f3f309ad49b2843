"""A check that asks whether the database can keep every character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage

from fluxio_django.checks.asking import answer_of, database_of_runs
from fluxio_django.checks.ids import CheckID

_CHARACTER_SET = (
    "SELECT character_set_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = %s AND column_name = 'error'"
)


def check_texts(
    app_configs: object, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Names of stages and errors in which a character has no place."""
    connection = database_of_runs(databases)
    if connection is None:
        return []
    match connection.vendor:
        case "postgresql":
            found, wanted = answer_of(connection, "SHOW server_encoding"), "UTF8"
        case "mysql":
            table = apps.get_model("fluxio_django", "Run")._meta.db_table
            found, wanted = answer_of(connection, _CHARACTER_SET, table), "utf8mb4"
        case _:
            return []
    if found in (None, wanted):
        return []
    return [
        CheckID.NARROW_TEXT.message(
            f"Texts of runs in database {connection.alias!r} are kept as {found}, which lacks most "
            "characters: a run whose stage or error has one of them fails.",
            hint=f"Convert the tables of fluxio_django to {wanted}, or keep runs in a database "
            "that was created with it.",
        )
    ]
