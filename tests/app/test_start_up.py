"""What a project pays for the app while it starts: few modules, and nothing that executes runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROJECT = """
import sys

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "fluxio_django"] + {apps},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    FLUXIO={fluxio},
    **{more},
)
django.setup()
{then}
print(*(name for name in sys.modules if name.partition(".")[0] in ("fluxio", "fluxio_django")))
"""

# With these settings the program itself is what ROOT_URLCONF names.
ADMIN_APPS = ["django.contrib.admin", "django.contrib.sessions", "django.contrib.messages"]
ADMIN: dict[str, Any] = {
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
    "ROOT_URLCONF": "__main__",
}
WITH_ADDRESSES = """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
call_command("check", verbosity=0)
"""
AT_ONCE = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from fluxio_django.admin import queues, runs, versions
from fluxio_django.admin.names import OperationName
from fluxio_django.admin.opened import opened
from fluxio_django.models import PipelineVersion, Queue, Run

desk = admin.site.get_model_admin
views = [opened(runs.CONFIRMATION, desk(Run), name) for name in OperationName]
views += [opened(view, desk(Run)) for view in runs.PAGES.values()]
views += [opened(view, desk(PipelineVersion)) for view in versions.PAGES.values()]
views += [opened(queues.SWITCH, desk(Queue), name) for name in ("pause", "resume")]
together = Barrier(8)


def refused(_number):
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    together.wait()
    count = 0
    for view in views:
        try:
            view(request)
        except PermissionDenied:
            count += 1
    return count


with ThreadPoolExecutor(8) as threads:
    assert [*threads.map(refused, range(8))] == [len(views)] * 8
"""

# Rooms of which nothing is needed before a pipeline is built or a run is looked at.
AT_REST = ("runtime", "compiler", "store", "observability", "pipeline", "program", "nodes")
MOST_MODULES = 30
"""Each costs a few thousandths of `manage.py check`; the page on performance has the figures."""
MOST_WITH_ADMIN = 44
"""Those and what the admin registers: four admins with their columns and filters."""


def modules_of(then: str, fluxio: str = "{}", *, apps: Sequence[str] = (), **more: Any) -> set[str]:
    """Which of our modules a project has loaded after it was set up and did something."""
    program = PROJECT.replace("{fluxio}", fluxio).replace("{then}", then)
    program = program.replace("{apps}", repr([*apps])).replace("{more}", repr(more))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split("\n")[-2].split())


def awake(loaded: set[str]) -> set[str]:
    """What of it executes runs."""
    rooms = {f"fluxio.{room}" for room in AT_REST}
    rooms |= {"fluxio_django.tables", "fluxio_django.journal", "fluxio_django.pipeline"}
    return {name for name in loaded if ".".join(name.split(".")[:2]) in rooms}


@pytest.mark.parametrize("then", ["", 'call_command("check", verbosity=0)'])
def test_a_project_starts_and_is_checked_without_what_executes_runs(then: str) -> None:
    loaded = modules_of(then)
    assert not awake(loaded)
    assert len(loaded) <= MOST_MODULES, sorted(loaded)


def test_the_admin_is_registered_and_checked_without_its_pages() -> None:
    loaded = modules_of(WITH_ADDRESSES, apps=ADMIN_APPS, **ADMIN)
    assert "fluxio_django.admin.runs" in loaded
    assert not awake(loaded)
    assert len(loaded) <= MOST_WITH_ADMIN, sorted(loaded)


def test_the_inline_for_admins_of_a_project_brings_nothing_that_executes_runs() -> None:
    inline = "from fluxio_django.admin import RunsInline"
    loaded = modules_of(WITH_ADDRESSES + inline, apps=ADMIN_APPS, **ADMIN)
    assert "fluxio_django.admin.inline" in loaded
    assert not awake(loaded)


def test_pages_of_the_admin_can_be_first_asked_for_at_once() -> None:
    loaded = modules_of(WITH_ADDRESSES + AT_ONCE, apps=ADMIN_APPS, **ADMIN)
    assert "fluxio_django.admin.operations" in loaded


def test_the_runtime_gets_the_ports_of_django_when_it_is_first_used() -> None:
    asked = "from fluxio.runtime.environment import default_environment as environment; "
    asked += "assert environment().lease_seconds() == 7"
    assert "fluxio_django.runner" in modules_of(asked, '{"LEASE_SECONDS": 7}')


def test_the_codec_knows_models_when_it_is_first_used() -> None:
    asked = "from fluxio.codec import DEFAULT_CODEC as codec; "
    asked += "from django.contrib.auth.models import User; "
    asked += "user = User(pk=7); user._state.adding = False; "
    asked += "assert 'auth.User' in codec.encode_value(user)"
    assert "fluxio_django.references" in modules_of(asked)


def test_a_ticket_is_executed_in_a_process_that_did_nothing_before() -> None:
    asked = "call_command('migrate', verbosity=0); "
    asked += "from fluxio_django.dispatch.base import execute; execute('of nobody')"
    assert "fluxio_django.runner" in modules_of(asked)
