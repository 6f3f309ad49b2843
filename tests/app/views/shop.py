"""A pipeline that the views are open for, one that they are not, and people who ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client

from fluxio import Context, Pipeline, Secret, stage
from fluxio_django.models import Run
from fluxio_django.registry import pipelines

OPEN = "views.checkout"
CLOSED = "views.payroll"

CANARY = "canary-4f1d"
"""Stands in every value that nobody may be shown."""


@stage(version="1")
def price(ctx: Context) -> Context:
    return ctx.update({"total": ctx.get("quantity", 1) * 5, "internal": {"margin": 3}})


@stage(version="1")
def charge(ctx: Context) -> Context:
    if ctx.get("card") == "declined":
        raise ValueError(f"declined, password={CANARY}")
    return ctx.update({"receipt": "r-1", "api_key": CANARY, "pin": Secret(CANARY)})


def checkout() -> Pipeline:
    return Pipeline([price, charge], durable=True)


@contextmanager
def opened() -> Iterator[None]:
    """Both pipelines are registered for the time of the block."""
    for name in (OPEN, CLOSED):
        pipelines.add(name, checkout)
    try:
        yield
    finally:
        for name in (OPEN, CLOSED):
            pipelines.remove(name)


def person(name: str, *rights: str, **facts: Any) -> User:
    """Somebody who holds these rights on our models."""
    user = User.objects.create_user(name, password="x", **facts)
    wanted = Permission.objects.filter(content_type__app_label="fluxio_django")
    user.user_permissions.set(wanted.filter(codename__in=rights))
    assert user.user_permissions.count() == len(rights)
    return User.objects.get(pk=user.pk)


def browser(user: User | None) -> Client:
    """A browser in which somebody is signed in, or nobody."""
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def post(client: Client, address: str, body: Any = None, **headers: Any) -> HttpResponse:
    """Send JSON."""
    answer: HttpResponse = client.post(
        address, data=json.dumps(body or {}), content_type="application/json", **headers
    )
    return answer


def run_of(user: User | None, run_id: str, name: str = OPEN, **values: Any) -> Run:
    """A run that somebody asked for and that has ended."""
    try:
        pipelines[name].invoke_sync({"quantity": 2, **values}, run_id=run_id)
    except ValueError:
        assert values["card"] == "declined"
    Run.objects.filter(run_id=run_id).update(requested_by=user)
    return Run.objects.get(run_id=run_id)


def everything(alias: str = "default") -> list[Any]:
    """All that a request could have changed; runs live in this database, the trail never moves."""
    from django.contrib.admin.models import LogEntry

    from fluxio_django.models import Checkpoint

    ours = [model._default_manager.using(alias) for model in (Run, Checkpoint)]
    return [list(rows.order_by("pk").values()) for rows in (*ours, LogEntry.objects)]
