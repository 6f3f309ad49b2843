"""The Django project that the benchmarks run in: one PostgreSQL, or SQLite where there is none."""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command

DEFAULT_URL = "postgres://postgres@127.0.0.1:5432/postgres"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
_NAME = f"fluxio_bench_{os.getpid()}"


def set_up() -> None:
    """Configure Django and make the tables: in PostgreSQL as `default`, and in a file of SQLite.

    From now on the process ends in order when it is told to: a worker that it started would
    otherwise outlive it, and its database as well.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    settings.configure(
        **project_settings(
            {"default": _postgresql() or _sqlite("default"), "sqlite": _sqlite("sqlite")}
        )
    )
    django.setup()
    for alias in settings.DATABASES:
        call_command("migrate", verbosity=0, database=alias)


def project_settings(databases: dict[str, Any]) -> dict[str, Any]:
    """The settings of the project, over these databases."""
    return {
        "DATABASES": databases,
        "INSTALLED_APPS": [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "fluxio_django",
            "benchmarks",
        ],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": "benchmarks.urls",
        "STATIC_URL": "static/",
        "USE_TZ": True,
        "SECRET_KEY": "only for benchmarks",
        "FLUXIO": {"DISPATCHER": "celery"},
    }


def about() -> dict[str, str]:
    """What the figures were measured on."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('server_version'), current_setting('fsync')")
            version, fsync = cursor.fetchone()
            database = f"PostgreSQL {version.split()[0]} (fsync {fsync})"
        else:
            database = connection.display_name
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "database": database,
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "cores": str(os.cpu_count()),
    }


@cache
def redis_url() -> str | None:
    """Where Redis answers, None where it does not."""
    url = os.environ.get("FLUXIO_BENCH_REDIS_URL", DEFAULT_REDIS_URL)
    try:
        import redis

        redis.Redis.from_url(url, socket_connect_timeout=2).ping()
    except Exception:  # noqa: BLE001 - no client, no server, no permission: all mean "not here"
        return None
    return url


def _postgresql() -> dict[str, Any] | None:
    try:
        import psycopg

        fresh_database(_NAME)
    except (ImportError, psycopg.Error):
        return None
    return postgresql_settings(_NAME)


def postgresql_settings(name: str) -> dict[str, Any]:
    """What Django needs to know of a database on the server that the benchmarks use."""
    url = urlsplit(server_url(name))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": url.username or "postgres",
        "PASSWORD": url.password or "",
        "HOST": url.hostname,
        "PORT": url.port or 5432,
    }


def _sqlite(name: str) -> dict[str, Any]:
    folder = tempfile.mkdtemp(prefix="fluxio-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(folder) / f"{name}.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }


def server_url(database: str) -> str:
    """The URL of a database on the server that the benchmarks use."""
    url = urlsplit(os.environ.get("FLUXIO_BENCH_URL", DEFAULT_URL))
    return url._replace(scheme="postgresql", path=f"/{database}").geturl()


def fresh_database(name: str) -> str:
    """Make an empty database on that server, which vanishes with this process; gives its URL."""
    _recreate(name, anew=True)
    atexit.register(_recreate, name, anew=False)
    return server_url(name)


def lasting_database(name: str) -> str:
    """The database of this name on that server, made where there is none; gives its URL."""
    import psycopg

    url = os.environ.get("FLUXIO_BENCH_URL", DEFAULT_URL)
    with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if found.fetchone() is None:
            connection.execute(f"CREATE DATABASE {name}")
    return server_url(name)


def _recreate(name: str, *, anew: bool) -> None:
    import psycopg

    url = os.environ.get("FLUXIO_BENCH_URL", DEFAULT_URL)
    with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        if anew:
            connection.execute(f"CREATE DATABASE {name}")
