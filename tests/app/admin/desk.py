"""How tests find their way around the admin: addresses, confirmations, and what may not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.test import Client

from fluxio_django.admin import RunAdmin
from fluxio_django.models import Checkpoint, PipelineVersion, Run

SignIn = Callable[..., Client]


@dataclass(frozen=True)
class Confirm:
    """Fills in the page of an operation and sends it, as a person would."""

    commit: Callable[..., Any]

    def __call__(self, client: Client, address: str, **fields: str) -> HttpResponse:
        """Open the page, send it, and let the work be done."""
        page = client.get(address)
        assert page.status_code == 200, page
        return self.send(client, address, page.context["confirmation"], **fields)

    def send(self, client: Client, address: str, confirmation: str, **fields: str) -> HttpResponse:
        """Send the form with a confirmation of one's own choosing."""
        data = {"reason": "a customer asked", "confirmation": confirmation, **fields}
        with self.commit(execute=True):
            answer: HttpResponse = client.post(address, data)
        return answer


def address(name: str, *runs: Run) -> str:
    """The address of an operation on runs."""
    query = "&".join(f"run={run.pk}" for run in runs)
    return f"/admin/fluxio_django/run/{name}/?{query}"


def page_of(run: Run) -> str:
    """The address of a run's page."""
    return f"/admin/fluxio_django/run/{run.pk}/change/"


def everything() -> list[list[dict[str, Any]]]:
    """All that could have been changed, to be compared before and after."""
    models = (Run, Checkpoint, PipelineVersion, LogEntry)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


def foreign_runs_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody see only the runs whose id begins with "mine"."""
    all_runs = RunAdmin.get_queryset

    def mine(self: RunAdmin, request: HttpRequest) -> QuerySet[Run]:
        return all_runs(self, request).filter(run_id__startswith="mine")

    monkeypatch.setattr(RunAdmin, "get_queryset", mine)
