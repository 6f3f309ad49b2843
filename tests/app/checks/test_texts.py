"""`manage.py check --database` says when a character has no place in the database of runs."""

from collections.abc import Iterator

import pytest
from django.db import connections
from django.test import override_settings

from fluxio import Context, Pipeline, stage
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline
from tests.app.checks.found import found


def failing(alias: str) -> DjangoPipeline:
    @stage(version="1")
    def smile(ctx: Context) -> Context:
        raise ValueError("\N{SLIGHTLY SMILING FACE}")

    store = DjangoStore(using=alias)
    made = Pipeline([smile], durable=True, checkpoint_store=store)
    return made.bound_to(DjangoPipeline, name="texts", store=lambda: store)


@pytest.fixture
def narrow() -> Iterator[str]:
    """MariaDB whose errors of runs are kept as they were before it knew all of Unicode."""
    change = "ALTER TABLE fluxio_django_run MODIFY error longtext CHARACTER SET {} NOT NULL"
    with connections["mariadb"].cursor() as cursor:
        cursor.execute(change.format("utf8mb3"))
    yield "mariadb"
    with connections["mariadb"].cursor() as cursor:
        cursor.execute(change.format("utf8mb4"))


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_w017_columns_that_lack_most_characters(narrow: str) -> None:
    with override_settings(FLUXIO={"DATABASE": narrow}):
        message = found(databases=[narrow])["fluxio.W017"]
    assert "utf8mb3" in message.msg
    assert "utf8mb4" in message.hint
    with pytest.raises(ValueError, match="\N{SLIGHTLY SMILING FACE}") as failed:
        failing(narrow).invoke_sync({}, run_id="r")
    assert "no place for a character" in failed.value.__notes__[-1]
    assert "Unavailable" not in failed.value.__notes__[-1]  # it would fail again


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_w017_a_database_in_an_old_encoding() -> None:
    connection = connections["postgres"]
    name = connection.settings_dict["NAME"]
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(
            f"CREATE DATABASE {name}_old ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
    connection.settings_dict["NAME"] = f"{name}_old"
    try:
        with override_settings(FLUXIO={"DATABASE": "postgres"}):
            assert "UTF8" in found(databases=["postgres"])["fluxio.W017"].hint
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}_old")
