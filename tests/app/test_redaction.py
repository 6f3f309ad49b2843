"""What FLUXIO["REDACT"] hides is hidden in every room that shows values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from fluxio import Context, Pipeline, Secret, register_type, stage
from fluxio.codec import isolated_types
from fluxio_django import pipelines, register, services
from fluxio_django.admin.rendering import Renderer
from fluxio_django.log import read_page
from fluxio_django.models import Run
from fluxio_django.redaction import shown_text, shown_values
from fluxio_django.values import json_values, short

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "c4n4ry"


class Sealed:
    """A registered type that tells of a password only once it is encoded."""

    def __init__(self, inside: str) -> None:
        self.inside = inside


@pytest.fixture
def run() -> Iterator[Run]:
    @stage
    def log_in(ctx: Context) -> Context:
        return ctx.set("session", {"token": CANARY, "sealed": Sealed(CANARY)})

    @stage
    def fail(ctx: Context) -> Context:
        raise ValueError(f"refused {ctx['session']['token']} and {ctx['plain'].reveal()}")

    with isolated_types():
        register_type(
            Sealed,
            name="sealed",
            encode=lambda sealed: {"password": sealed.inside},
            decode=lambda facts: Sealed(facts["password"]),
        )
        register("vault.login", Pipeline([log_in, fail], durable=True))
        given = {"password": CANARY, "plain": Secret(CANARY), "user": "ada"}
        with pytest.raises(ValueError, match="refused"):
            pipelines["vault.login"].invoke_sync(given, run_id="r")
        yield Run.objects.get(run_id="r")
        pipelines.remove("vault.login")


def told(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.security(15)
def test_no_way_of_showing_a_run_gives_a_secret_away(run: Run) -> None:
    state = services.state("r")
    lines = read_page(run).lines
    channels = {
        "error": run.error,
        "text": [short(value) for value in state.values()],
        "json": json.dumps(json_values(state)),
        "state before a step": json.dumps(json_values(services.state("r", "fail"))),
        "tree": repr(Renderer().show_items(state)),
        "rows": repr([(Renderer().show_items(line.writes), line.error) for line in lines]),
        "history": [
            (json.dumps(json_values(entry.writes)), entry.error) for entry in services.history("r")
        ],
        "diff": services.diff("r", "r", at_a=0).paths(),
        "fluxio_show": told("fluxio_show", "r", "--values", "-v", "2"),
        "fluxio_show --json": told("fluxio_show", "r", "--values", "--json"),
        "fluxio_diff": told("fluxio_diff", "r", "r", "--at-a", "0", "--paths"),
        "fluxio_diff --json": told("fluxio_diff", "r", "r", "--at-a", "0", "--json"),
        "fluxio_runs": told("fluxio_runs"),
    }
    assert {name for name, shown in channels.items() if CANARY in repr(shown)} == set()
    assert "ada" in repr(channels["text"])


def test_the_run_itself_goes_on_with_the_real_values(run: Run) -> None:
    assert pipelines["vault.login"].state_sync("r")["password"] == CANARY


def test_the_project_chooses_the_keys(settings: Any) -> None:
    settings.FLUXIO = {"REDACT": ["iban"]}
    assert shown_values({"IBAN": 1, "password": 2}) == {"IBAN": Secret(1), "password": 2}
    assert shown_text("iban=DE1 password=x") == "iban=*** password=x"
    settings.FLUXIO = {"REDACT": []}
    assert shown_values({"IBAN": 1}) == {"IBAN": 1}


def test_a_field_of_a_dataclass_is_hidden_by_its_name() -> None:
    @dataclasses.dataclass
    class Account:
        user: str
        api_key: str

    shown = Renderer().show_items({"account": Account("ada", CANARY)})
    assert CANARY not in repr(shown)
    assert "ada" in repr(shown)
