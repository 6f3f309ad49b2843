"""System checks: what is wrong with the set-up, before it goes wrong at run time.

One file per subject; `ids` lists every id. A check that asks a server belongs under DATABASE: those
run with `manage.py check --database ALIAS` and before `migrate`, the others with every command.
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.checks import CheckMessage, Tags, register

from fluxio_django.checks.access import check_visibility
from fluxio_django.checks.commits import check_commits
from fluxio_django.checks.databases import check_database_settings
from fluxio_django.checks.dispatch import check_dispatcher
from fluxio_django.checks.pipelines import check_open_pipelines, check_pipelines
from fluxio_django.checks.servers import check_servers
from fluxio_django.checks.serving import check_serving
from fluxio_django.checks.settings import check_settings
from fluxio_django.checks.stores import check_callbacks, check_keyring, check_store
from fluxio_django.checks.texts import check_texts

__all__ = ["DATABASE", "SETUP", "register_checks"]

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
DATABASE: tuple[Check, ...] = (check_commits, check_servers, check_texts)


def register_checks() -> None:
    """Make Django run every check of this package."""
    for check in SETUP:
        register(check, "fluxio")
    for check in DATABASE:
        register(check, Tags.database)
