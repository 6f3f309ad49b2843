"""Makes an entry of DATABASES out of a URL."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
    "mariadb": "django.db.backends.mysql",
}

# Readers do not wait for the writer; a writer says so when its transaction begins, so that two of
# them queue up instead of failing in the middle.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}


def database_from(url: str) -> dict[str, Any]:
    """The entry for `sqlite:///relative.sqlite3`, `postgres://user:password@host:port/name` etc.

    Four slashes make a SQLite path absolute: `sqlite:////srv/shop.sqlite3`.

    Raises:
        ImproperlyConfigured: it names no kind of database that we know.
    """
    parts = urlsplit(url)
    if parts.scheme not in ENGINES:
        raise ImproperlyConfigured(
            f"DATABASE_URL begins with {parts.scheme or url!r}. Choose: {', '.join(ENGINES)}."
        )
    engine, name = ENGINES[parts.scheme], unquote(parts.path.removeprefix("/"))
    if not name:
        raise ImproperlyConfigured("DATABASE_URL names no database: add a path, e.g. /shop.")
    if parts.scheme == "sqlite":
        return {"ENGINE": engine, "NAME": name, "OPTIONS": SQLITE_OPTIONS}
    return {
        "ENGINE": engine,
        "NAME": name,
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "OPTIONS": {"charset": "utf8mb4"} if engine.endswith("mysql") else {},
    }
