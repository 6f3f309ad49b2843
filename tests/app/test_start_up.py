"""What a project pays for the app while it starts: few modules, and nothing that executes runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROJECT = """
import sys

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "fluxio_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    FLUXIO={fluxio},
)
django.setup()
{then}
print(*(name for name in sys.modules if name.partition(".")[0] in ("fluxio", "fluxio_django")))
"""

# Rooms of which nothing is needed before a pipeline is built or a run is looked at.
AT_REST = ("runtime", "compiler", "store", "observability", "pipeline", "program", "nodes")
MOST_MODULES = 30
"""Each costs a few thousandths of `manage.py check`; the page on performance has the figures."""


def modules_of(then: str, fluxio: str = "{}") -> set[str]:
    """Which of our modules a project has loaded after it was set up and did something."""
    program = PROJECT.replace("{fluxio}", fluxio).replace("{then}", then)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize("then", ["", 'call_command("check", verbosity=0)'])
def test_a_project_starts_and_is_checked_without_what_executes_runs(then: str) -> None:
    loaded = modules_of(then)
    assert not {
        name for name in loaded if name.startswith("fluxio.") and name.split(".")[1] in AT_REST
    }
    assert not loaded & {"fluxio_django.tables", "fluxio_django.journal", "fluxio_django.pipeline"}
    assert len(loaded) <= MOST_MODULES, sorted(loaded)


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
