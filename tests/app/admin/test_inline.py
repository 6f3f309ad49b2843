"""Any ModelAdmin can show the runs that are about its object; nobody changes them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, Permission, User
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fluxio_django import pipelines
from fluxio_django.admin import RunsInline
from fluxio_django.models import Run
from tests.app.admin.desk import SignIn, everything
from tests.app.admin.shop import CHECKOUT, Shop


@pytest.fixture
def group(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    """A group with a run, in an admin that shows such runs."""
    monkeypatch.setattr(GroupAdmin, "inlines", [RunsInline])
    group = Group.objects.create(name="order 7")
    pipelines[CHECKOUT].invoke_sync({"quantity": 2}, run_id="mine-1", subject=group)
    pipelines[CHECKOUT].invoke_sync({"quantity": 2}, run_id="about-nothing")
    return group


def page(group: Group) -> str:
    return f"/admin/auth/group/{group.pk}/change/"


def may_edit_groups(client: Client) -> Client:
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.user_permissions.add(*Permission.objects.filter(content_type__model="group"))
    return client


def form_of(group: Group, **more: str) -> dict[str, str]:
    return {"name": group.name, **more}


def test_the_page_of_an_object_lists_the_runs_about_it(root: Client, group: Group) -> None:
    text = root.get(page(group)).content.decode()
    assert "mine-1" in text
    assert "about-nothing" not in text
    assert f'href="/admin/fluxio_django/run/{_key("mine-1")}/change/"' in text
    assert "receipt" not in text  # values are shown on the page of the run, to those who may


def _key(run_id: str) -> int:
    return Run.objects.get(run_id=run_id).pk


def test_the_set_up_passes_the_checks_of_django(group: Group) -> None:
    site = admin.AdminSite()
    site.register(Group, GroupAdmin)
    assert not site._registry[Group].check()
    assert not [found for found in run_checks() if "RunsInline" in str(found)]


def test_it_takes_the_right_to_view_runs(sign_in: SignIn, group: Group) -> None:
    without = may_edit_groups(sign_in()).get(page(group)).content.decode()
    assert "mine-1" not in without
    with_it = may_edit_groups(sign_in("view_run")).get(page(group)).content.decode()
    assert "mine-1" in with_it


def test_only_runs_are_listed_that_the_user_may_know_of(
    root: Client, group: Group, settings: Any
) -> None:
    pipelines[CHECKOUT].invoke_sync({"quantity": 2}, run_id="foreign-1", subject=group)
    user = User.objects.get(pk=root.session["_auth_user_id"])
    Run.objects.filter(run_id="mine-1").update(requested_by=user)
    settings.FLUXIO = {"VISIBLE_TO": "tests.app.visibility_rules.only_own"}
    text = root.get(page(group)).content.decode()
    assert "mine-1" in text
    assert "foreign-1" not in text


@pytest.mark.security(11)
def test_saving_the_page_changes_no_run_whatever_is_sent(root: Client, group: Group) -> None:
    before = everything()[:3]
    prefix = "fluxio_django-run-subject_type-subject_id"
    hostile = {
        f"{prefix}-TOTAL_FORMS": "3",
        f"{prefix}-INITIAL_FORMS": "1",
        f"{prefix}-0-id": str(_key("mine-1")),
        f"{prefix}-0-status": "queued",
        f"{prefix}-0-DELETE": "on",
        f"{prefix}-1-run_id": "forged",
    }
    for sent in ({}, hostile):
        answer = root.post(page(group), form_of(group, **sent))
        assert answer.status_code == 302, answer.content.decode()
    assert everything()[:3] == before
    assert LogEntry.objects.filter(object_id=str(group.pk)).count() == 2


def test_a_page_that_is_shown_again_with_an_error_still_lists_them(
    root: Client, group: Group
) -> None:
    answer = root.post(page(group), {"name": ""})
    assert answer.status_code == 200
    assert "mine-1" in answer.content.decode()


def test_a_new_object_has_no_runs(root: Client, group: Group) -> None:
    assert "mine-1" not in root.get("/admin/auth/group/add/").content.decode()
    assert root.post("/admin/auth/group/add/", {"name": "another"}).status_code == 302


def test_many_runs_cost_as_many_queries_as_one(root: Client, group: Group) -> None:
    root.get(page(group))
    with CaptureQueriesContext(connection) as one:
        root.get(page(group))
    for number in range(25):
        pipelines[CHECKOUT].invoke_sync({"quantity": 2}, run_id=f"more-{number}", subject=group)
    with CaptureQueriesContext(connection) as many:
        text = root.get(page(group)).content.decode()
    assert len(many) == len(one)
    assert text.count('/change/">more-') == 20
