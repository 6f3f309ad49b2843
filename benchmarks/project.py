"""The Django project that the benchmarks run in: one PostgreSQL, or SQLite where there is none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command

DEFAULT_URL = "postgres://postgres@127.0.0.1:5432/postgres"
_NAME = "fluxio_bench"


def set_up() -> str:
    """Configure Django, make the tables, and give the kind of database that is used."""
    url = urlsplit(os.environ.get("FLUXIO_BENCH_URL", DEFAULT_URL))
    database = _postgresql(url) or _sqlite()
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "fluxio_django",
        ],
        USE_TZ=True,
        SECRET_KEY="only for benchmarks",
    )
    django.setup()
    call_command("migrate", verbosity=0)
    return str(database["ENGINE"]).rpartition(".")[2]


def _postgresql(url: Any) -> dict[str, Any] | None:
    try:
        import psycopg

        with psycopg.connect(url.geturl(), autocommit=True, connect_timeout=3) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {_NAME}")
            connection.execute(f"CREATE DATABASE {_NAME}")
    except (ImportError, psycopg.Error):
        return None
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _NAME,
        "USER": url.username or "postgres",
        "PASSWORD": url.password or "",
        "HOST": url.hostname,
        "PORT": url.port or 5432,
    }


def _sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(tempfile.mkdtemp()) / "bench.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
