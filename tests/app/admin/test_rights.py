"""Who may open which page and set off what; everybody else is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from fluxio_django import services
from fluxio_django.models import Checkpoint, PipelineVersion, Run
from tests.app.admin.desk import (
    Confirm,
    SignIn,
    address,
    everything,
    foreign_runs_are_hidden,
    page_of,
)
from tests.app.admin.shop import CHECKOUT, Shop

OWN_RIGHTS = [
    "view_run",
    "resume_run",
    "replay_run",
    "fork_run",
    "diff_run",
    "view_context",
    "cancel_run",
    "force_version",
    "view_pipelineversion",
    "view_checkpoint",
    "add_run",
    "delete_run",
    "view_queue",
    "change_queue",
]
OPERATIONS = {
    "resume": "resume_run",
    "replay": "replay_run",
    "fork": "fork_run",
    "requeue": "resume_run",
    "cancel": "cancel_run",
    "prune": "delete_run",
    "diff": "diff_run",
}

SWITCHES = ("pause", "resume")
QUEUES = "/admin/fluxio_django/queue/"
VERSIONS = "/admin/fluxio_django/pipelineversion/"
REDRIVE = f"/admin/fluxio_django/run/redrive/?pipeline={CHECKOUT}&status=dead"

CANARY = "c4n4ry"
"""Stands in the context of the run, and so on no page for those who may not see values."""


def switch(name: str) -> str:
    """The address at which a queue is paused or resumed."""
    return f"{QUEUES}{name}/?queue=default"


ROLES: list[frozenset[str]] = [
    frozenset(),
    *(frozenset({right}) for right in OWN_RIGHTS),
    *(frozenset({"view_run", right}) for right in OWN_RIGHTS[1:]),
    frozenset(OWN_RIGHTS),
]
ROLE_NAMES = [" and ".join(sorted(role)) or "no right" for role in ROLES]
every_role = pytest.mark.parametrize("role", ROLES, ids=ROLE_NAMES)


def pages(run: Run) -> dict[str, set[str]]:
    """Every page about a run, and the rights each needs."""
    row = run.checkpoints.get(sequence=1)
    version = PipelineVersion.objects.get()
    return {
        "/admin/fluxio_django/run/": {"view_run"},
        page_of(run): {"view_run"},
        f"/admin/fluxio_django/run/{run.pk}/history/": {"view_run"},
        "/admin/fluxio_django/checkpoint/": {"view_run"},
        f"/admin/fluxio_django/checkpoint/{row.pk}/change/": {"view_run"},
        f"/admin/fluxio_django/checkpoint/{row.pk}/history/": {"view_run"},
        "/admin/fluxio_django/pipelineversion/": {"view_pipelineversion"},
        f"/admin/fluxio_django/pipelineversion/{version.pk}/change/": {"view_pipelineversion"},
        f"/admin/fluxio_django/pipelineversion/{version.pk}/history/": {"view_pipelineversion"},
        address("pulse", run): {"view_run"},
        address("state", run): {"view_run", "view_context"},
        **{address(name, run): {"view_run", right} for name, right in OPERATIONS.items()},
        REDRIVE: {"view_run", "resume_run"},
        f"{VERSIONS}pipelines/": {"view_pipelineversion"},
        f"{VERSIONS}pipeline/?pipeline={CHECKOUT}": {"view_pipelineversion"},
        **{switch(name): {"change_queue"} for name in SWITCHES},
    }


def history_pages(run: Run) -> list[str]:
    """The pages that Django has for changing records."""
    records = {
        "run": run.pk,
        "checkpoint": run.checkpoints.get(sequence=1).pk,
        "pipelineversion": PipelineVersion.objects.get().pk,
    }
    return [
        f"/admin/fluxio_django/{model}/{page}/"
        for model, key in records.items()
        for page in ("add", f"{key}/delete", f"{key}/change")
    ]


Cell = tuple[str, bool]
"""What somebody does, and whether that ended as it should."""


@dataclass
class Matrix:
    """Everybody with any set of rights meets every page and every operation."""

    shop: Shop
    confirm: Confirm
    run: Run
    stolen: dict[str, str]

    def outsiders(self, client: Client) -> Iterator[Cell]:
        """The cells of somebody who is not of the staff."""
        for page in pages(self.run):
            yield page, "/login/" in client.get(page).headers.get("Location", "")

    def pages(self, client: Client, role: frozenset[str]) -> Iterator[Cell]:
        """The cells for looking."""
        sees_values = "view_context" in role
        for page, needed in pages(self.run).items():
            expected = (200, 302) if needed <= role else (403,)
            answer = client.get(page)
            yield page, answer.status_code in expected
            yield f"values on {page}", sees_values or CANARY not in answer.content.decode()
        sees_queues = bool(role & {"view_queue", "change_queue"})
        yield QUEUES, client.get(QUEUES).status_code == (200 if sees_queues else 403)

    def operations(self, client: Client, role: frozenset[str]) -> Iterator[Cell]:
        """The cells for acting; who may not, sends a confirmation that another was given."""
        for name, right in OPERATIONS.items():
            if {"view_run", right} <= role:
                yield name, is_carried_out(self.shop, self.confirm, client, name)
            else:
                answer = self.confirm.send(client, address(name, self.run), self.stolen[name])
                yield name, answer.status_code == 403
        yield "fork preview", self.forks_are_shown(client, may={"view_run", "fork_run"} <= role)
        yield "redrive", self.the_dead_are_redriven(client, may={"view_run", "resume_run"} <= role)
        for name in SWITCHES:
            if "change_queue" in role:
                answer = self.confirm(client, switch(name))
            else:
                answer = self.confirm.send(client, switch(name), self.stolen[name])
            yield name, answer.status_code == (302 if "change_queue" in role else 403)

    def forks_are_shown(self, client: Client, *, may: bool) -> bool:
        """Whether a preview is given to those who may fork, and makes no run for anybody."""
        runs = Run.objects.count()
        where = address("fork", self.run)
        token = client.get(where).context["confirmation"] if may else self.stolen["fork"]
        answer = self.confirm.send(client, where, token, patch="{}", _preview="")
        return answer.status_code == (200 if may else 403) and Run.objects.count() == runs

    def the_dead_are_redriven(self, client: Client, *, may: bool) -> bool:
        """Whether those who may requeue runs redrive the dead of a pipeline, and nobody else."""
        dead = Run.objects.filter(pk=self.shop.fail("dead").pk)
        dead.update(status="dead")
        if may:
            self.confirm(client, REDRIVE)
        else:
            self.confirm.send(client, REDRIVE, self.stolen["redrive"])
        return dead.get().status == ("succeeded" if may else "dead")


@pytest.mark.security(1, 2)
def test_no_cell_of_the_matrix_is_wrong(
    shop: Shop, sign_in: SignIn, confirm: Confirm, root: Client, capsys: Any
) -> None:
    run = shop.fail("bad", note=CANARY)
    stolen = {name: root.get(address(name, run)).context["confirmation"] for name in OPERATIONS}
    stolen["redrive"] = root.get(REDRIVE).context["confirmation"]
    stolen |= {name: root.get(switch(name)).context["confirmation"] for name in SWITCHES}
    matrix = Matrix(shop, confirm, run, stolen)
    services.pause_queue("default")
    before = everything()
    found: list[tuple[str, Cell]] = []
    for name, outsider in (("nobody", Client()), ("no staff", sign_in(*OWN_RIGHTS, staff=False))):
        found += [(name, cell) for cell in matrix.outsiders(outsider)]
    for role, name in zip(ROLES, ROLE_NAMES, strict=True):
        client = sign_in(*role)
        found += [(name, cell) for cell in matrix.pages(client, role)]
        found += [(name, cell) for cell in matrix.operations(client, role)]
        Run.objects.exclude(pk=run.pk).delete()
        LogEntry.objects.all().delete()
        assert everything() == before, name
    wrong = [f"{name}: {what}" for name, (what, is_right) in found if not is_right]
    with capsys.disabled():
        print(f" {len(found)} cells of the authorisation matrix, {len(wrong)} wrong ", end="")
    assert wrong == []
    assert len(found) >= 400
    for page in (page_of(run), address("state", run), address("fork", run)):
        assert CANARY in root.get(page).content.decode(), page


def is_carried_out(shop: Shop, confirm: Confirm, client: Client, operation: str) -> bool:
    """Whether an operation does something to a run that allows it, and says so in the trail."""
    run = shop.fail(f"bad-{operation}")
    if operation == "cancel":
        Run.objects.filter(pk=run.pk).update(status="queued")
    told = LogEntry.objects.count()
    where = address(operation, run)
    confirm(client, where, a=run.run_id, b=run.run_id, patch="{}", as_run_id="forked")
    changed = list(Run.objects.filter(pk=run.pk).values("status", "attempt"))
    if LogEntry.objects.count() != told + 1:
        return False
    match operation:
        case "diff":
            return changed == [{"status": "failed", "attempt": 1}]
        case "fork":
            return Run.objects.filter(run_id="forked", status="succeeded").exists()
        case "prune":
            return changed == []
        case "cancel":
            return changed == [{"status": "cancelled", "attempt": 1}]
        case _:
            return changed == [{"status": "succeeded", "attempt": 1 + (operation == "replay")}]


@every_role
def test_the_menu_leads_only_those_to_an_operation_who_hold_its_right(
    shop: Shop, sign_in: SignIn, role: frozenset[str]
) -> None:
    runs = [shop.fail("one"), shop.fail("two")]
    client = sign_in(*role)
    before = everything()
    if "view_run" in role:
        form = client.get("/admin/fluxio_django/run/").context["action_form"]
        offered = {key for key, _ in form.fields["action"].choices} if form else set()
        held = {f"{name}_selected" for name, right in OPERATIONS.items() if right in role}
        assert offered - {""} == held
    for name, right in OPERATIONS.items():
        chosen = [run.pk for run in runs][: 1 if name == "fork" else 2]
        answer = client.post(
            "/admin/fluxio_django/run/",
            {"action": f"{name}_selected", "_selected_action": chosen, "select_across": "0"},
        )
        led = f"/run/{name}/" in answer.headers.get("Location", "")
        assert led == ({"view_run", right} <= role), name
    assert everything() == before


@pytest.mark.security(1)
@every_role
def test_selecting_all_pages_gives_nobody_more_than_they_hold(
    shop: Shop, sign_in: SignIn, role: frozenset[str]
) -> None:
    runs = [shop.fail("one"), shop.fail("two"), shop.fail("three")]
    client = sign_in(*role)
    before = everything()
    for name, right in [("resume", "resume_run"), ("replay", "replay_run")]:
        answer = client.post(
            "/admin/fluxio_django/run/",
            {
                "action": f"{name}_selected",
                "_selected_action": [runs[0].pk],
                "select_across": "1",
            },
        )
        location = answer.headers.get("Location", "")
        if {"view_run", right} <= role:
            assert all(f"run={run.pk}" in location for run in runs)
        else:
            assert f"/run/{name}/" not in location
    client.post(
        "/admin/fluxio_django/run/",
        {"action": "delete_selected", "_selected_action": [runs[0].pk], "select_across": "1"},
    )
    assert everything() == before


@pytest.mark.security(11)
@every_role
def test_history_is_read_only_for_everybody(
    shop: Shop, sign_in: SignIn, role: frozenset[str]
) -> None:
    run = shop.buy("fine")
    before = everything()
    people = [sign_in(*role), sign_in(superuser=True)]
    for client in people:
        for page in history_pages(run):
            data = {"post": "yes", "run_id": "other", "pipeline": "other", "status": "failed"}
            assert client.post(page, data).status_code == 403, page
    assert everything() == before


@pytest.mark.security(3)
@pytest.mark.parametrize("person", ["anonymous", "no member of the staff"])
def test_who_is_not_of_the_staff_is_sent_to_sign_in(
    shop: Shop, sign_in: SignIn, person: str
) -> None:
    run = shop.fail("bad")
    client = Client() if person == "anonymous" else sign_in(*OWN_RIGHTS, staff=False)
    before = everything()
    for page in [*pages(run), *history_pages(run)]:
        for answer in (client.get(page), client.post(page, {"reason": "x"})):
            assert answer.status_code == 302
            assert "/login/" in answer.headers["Location"]
    assert everything() == before


def our_addresses() -> Iterator[str]:
    """The routes of our models in the admin, as the address book has them."""

    def walk(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
        for pattern in patterns:
            route = before + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif "fluxio_django/" in route:
                yield route

    yield from walk(get_resolver().url_patterns, "/")


@pytest.mark.security(3)
def test_no_address_answers_staff_without_rights(shop: Shop, sign_in: SignIn) -> None:
    run = shop.fail("bad")
    client = sign_in()
    before = everything()
    crawled = 0
    for route in our_addresses():
        page = route.replace("<path:object_id>", str(run.pk))
        for answer in (client.get(page), client.post(page)):
            if answer.status_code == 302:
                # Django's old form of a record's address, which leads to the page that refuses.
                assert client.get(answer.headers["Location"]).status_code in (403, 404), page
            else:
                assert answer.status_code in (403, 404, 405), page
        crawled += 1
    assert crawled >= 20
    assert everything() == before


@pytest.mark.security(1)
def test_every_action_declares_whom_it_is_for() -> None:
    ours = [
        model_admin
        for model, model_admin in admin.site._registry.items()
        if model._meta.app_label == "fluxio_django"
    ]
    declared = [(model_admin, name) for model_admin in ours for name in (model_admin.actions or ())]
    assert len(declared) == 7
    for model_admin, name in declared:
        action = getattr(model_admin, str(name))
        assert len(action.allowed_permissions) == 1, name
        for permission in action.allowed_permissions:
            assert callable(getattr(model_admin, f"has_{permission}_permission")), name


@pytest.mark.security(1)
def test_an_action_that_is_called_past_the_menu_checks_again(shop: Shop, sign_in: SignIn) -> None:
    shop.fail("bad")
    request = RequestFactory().post("/")
    client = sign_in("view_run")
    request.user = client.get("/admin/").wsgi_request.user
    run_admin = admin.site.get_model_admin(Run)
    for name in run_admin.actions:
        with pytest.raises(PermissionDenied):
            getattr(run_admin, name)(request, Run.objects.all())


# --- single runs


class RightsForSomeRuns(ModelBackend):
    """Lets everybody resume the runs whose id begins with "open-", and only those."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if perm == "fluxio_django.resume_run":
            return isinstance(obj, Run) and obj.run_id.startswith("open-")
        return super().has_perm(user_obj, perm, obj)


@pytest.mark.security(1)
def test_a_right_for_some_runs_is_a_right_for_no_other(
    shop: Shop, sign_in: SignIn, confirm: Confirm, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.app.admin.test_rights.RightsForSomeRuns"]
    opened, closed = shop.fail("open-1"), shop.fail("closed-1")
    client = sign_in("view_run")
    assert "Resume" not in client.get(page_of(closed)).content.decode()
    assert client.get(address("resume", closed)).status_code == 403
    assert client.get(address("resume", opened, closed)).status_code == 403
    assert "Resume" in client.get(page_of(opened)).content.decode()
    confirm(client, address("resume", opened))
    assert Run.objects.get(pk=opened.pk).status == "succeeded"


@pytest.mark.security(5)
def test_a_foreign_run_is_not_there(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = shop.fail("mine"), shop.fail("theirs")
    confirmations = {name: root.get(address(name, theirs)) for name in OPERATIONS}
    row = theirs.checkpoints.get(sequence=1)
    foreign_runs_are_hidden(monkeypatch)
    before = everything()
    for page in (
        page_of(theirs),
        f"/admin/fluxio_django/run/{theirs.pk}/history/",
        f"/admin/fluxio_django/checkpoint/{row.pk}/change/",
        f"/admin/fluxio_django/checkpoint/{row.pk}/history/",
        *(address(name, theirs) for name in OPERATIONS),
        *(address(name, mine, theirs) for name in ("resume", "replay", "diff")),
    ):
        assert root.get(page).status_code == 404, page
    for name, page in confirmations.items():
        token = page.context["confirmation"]
        assert confirm.send(root, address(name, theirs), token, patch="{}").status_code == 404
    assert "theirs" not in root.get("/admin/fluxio_django/run/").content.decode()
    assert "theirs" not in root.get("/admin/fluxio_django/run/?q=theirs").context["cl"].result_list
    assert everything() == before


@pytest.mark.security(5)
def test_the_actions_of_the_list_never_reach_a_foreign_run(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = shop.fail("mine"), shop.fail("theirs")
    foreign_runs_are_hidden(monkeypatch)
    for across in ("0", "1"):
        answer = root.post(
            "/admin/fluxio_django/run/",
            {
                "action": "resume_selected",
                "_selected_action": [mine.pk, theirs.pk],
                "select_across": across,
            },
        )
        assert answer.headers["Location"] == address("resume", mine)


def test_a_fork_or_parent_that_is_foreign_has_no_link(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shop.fail("mine")
    confirm(root, address("fork", mine), as_run_id="theirs", patch="{}")
    theirs = Run.objects.get(run_id="theirs")
    foreign_runs_are_hidden(monkeypatch)
    assert page_of(theirs) not in root.get(page_of(mine)).content.decode()


def test_what_does_not_exist_is_not_found(shop: Shop, root: Client) -> None:
    for page in (
        "/admin/fluxio_django/run/999999/change/",
        "/admin/fluxio_django/run/nonsense/change/",
        "/admin/fluxio_django/run/999999/history/",
        "/admin/fluxio_django/checkpoint/999999/change/",
        "/admin/fluxio_django/pipelineversion/999999/change/",
        "/admin/fluxio_django/run/resume/",
        "/admin/fluxio_django/run/resume/?run=",
        "/admin/fluxio_django/run/resume/?run=999999",
        "/admin/fluxio_django/run/resume/?run=1%20OR%201=1",
        "/admin/fluxio_django/run/resume/?run=%D9%A1",
        "/admin/fluxio_django/run/resume/?run=" + "9" * 400,
        "/admin/fluxio_django/run/diff/?run=999999",
        "/admin/fluxio_django/run/diff/?run=x",
    ):
        assert root.get(page).status_code == 404, page


def test_rows_are_reached_from_their_run_and_are_not_in_the_index(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    assert "/fluxio_django/checkpoint/" not in root.get("/admin/").content.decode()
    row = run.checkpoints.get(sequence=1)
    assert f"/checkpoint/{row.pk}/change/" in root.get(page_of(run)).content.decode()
    assert Checkpoint.objects.count() == 4
