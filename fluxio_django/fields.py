"""The one column type of our own: text that every database compares byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class ExactCharField(CharField):
    """A CharField in which 'A' and 'a', 'x' and 'x ', 'e' and 'é' are different texts.

    MariaDB and MySQL take them for equal by default, SQLite and PostgreSQL do not. A fixed
    collation makes ids mean the same everywhere, and sorts them the same way.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        """The column's type and check, with the collation that is exact on this database."""
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        parameters["collation"] = self.db_collation or exact_collation(connection)
        return parameters


def exact_collation(connection: BaseDatabaseWrapper) -> str | None:
    """The collation that compares bytes; None where the default already does."""
    match connection.vendor:
        case "postgresql":
            return "C"
        case "mysql" if getattr(connection, "mysql_is_mariadb", False):
            return "utf8mb4_nopad_bin"
        case "mysql":
            return "utf8mb4_0900_bin"
        case _:
            return None
