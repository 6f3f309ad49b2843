"""The smallest Django project: what the reference is generated in, and what snippets run in."""

from __future__ import annotations

import django
from django.conf import settings


def configure(database: str) -> None:
    """Let the app find its tables in a SQLite database, and nothing else."""
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "fluxio_django",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="for the documentation only",
        USE_TZ=True,
    )
    django.setup()
