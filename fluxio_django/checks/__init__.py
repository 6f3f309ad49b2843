"""System checks: what is wrong with the set-up, before it goes wrong at run time.

One file per subject; `ids` lists every id. A check that asks a server belongs to DATABASE: those
run with `manage.py check --database ALIAS` and before `migrate`, the others with every command, and
so they load nothing that they do not look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, register
from django.utils.module_loading import import_string

from fluxio_django.checks.access import check_visibility
from fluxio_django.checks.databases import check_database_settings
from fluxio_django.checks.dispatch import check_dispatcher
from fluxio_django.checks.pipelines import check_open_pipelines, check_pipelines
from fluxio_django.checks.serving import check_serving
from fluxio_django.checks.settings import check_settings
from fluxio_django.checks.stores import check_callbacks, check_keyring, check_store

__all__ = ["DATABASE", "SETUP", "check_database", "register_checks"]

Check = Callable[..., list[CheckMessage]]

SETUP: tuple[Check, ...] = (
    check_pipelines,
    check_open_pipelines,
    check_serving,
    check_settings,
    check_store,
    check_keyring,
    check_callbacks,
    check_database_settings,
    check_visibility,
    check_dispatcher,
)
DATABASE = (
    "fluxio_django.checks.commits.check_commits",
    "fluxio_django.checks.servers.check_servers",
    "fluxio_django.checks.texts.check_texts",
)


def register_checks() -> None:
    """Make Django run every check of this package."""
    for check in SETUP:
        register(check, "fluxio")
    register(check_database, Tags.database)


def check_database(
    app_configs: object, databases: Sequence[str] | None = None, **options: Any
) -> list[CheckMessage]:
    """Every check of DATABASE, where a database may be asked at all."""
    if not databases:
        return []
    checks: list[Check] = [import_string(path) for path in DATABASE]
    return [
        message
        for check in checks
        for message in check(app_configs, databases=databases, **options)
    ]
