"""The page of one run and those of its rows: everything there is to see, for those who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from fluxio import Context, Pipeline, Secret, Send, stage
from fluxio_django import log, pipelines, register, services
from fluxio_django.models import Checkpoint, Run
from tests.app.admin.desk import Confirm, SignIn, address, page_of
from tests.app.admin.shop import CardDeclinedError, Shop

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}{% now %}]]>"


def shown(client: Client, run: Run, **query: str) -> Any:
    answer = client.get(page_of(run), query)
    assert answer.status_code == 200, answer
    return answer.context["page"]


def text(client: Client, run: Run, **query: str) -> str:
    return client.get(page_of(run), query).content.decode()


def rows_of(run: Run) -> list[str]:
    return [f"/admin/fluxio_django/checkpoint/{row.pk}/change/" for row in run.checkpoints.all()]


# --- what happened


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": "succeeded"}, "Succeeded in"),
        ({"status": "succeeded", "attempt": 3}, "Succeeded in attempt 3, just now."),
        ({"status": "failed"}, "Failed at step charge with CardDeclinedError, just now."),
        ({"status": "failed", "error": "no type here"}, "Failed at step charge, just now."),
        ({"status": "failed", "error": "%(step)s: %s"}, "Failed at step charge, just now."),
        ({"status": "queued"}, "Queued just now, waiting for a worker."),
        ({"status": "waiting"}, "Waiting at step charge."),
        ({"status": "cancelled"}, "Cancelled at step charge, just now."),
        ({"status": "dead", "takeovers": 5}, "Given up at step charge after 5 takeovers"),
        ({"status": "running", "owner": ""}, "Interrupted at step charge: its worker is gone."),
        ({"status": "running", "owner": "elsewhere:1::"}, "Running for"),
        ({"status": "nonsense"}, "Its status is “nonsense”"),
        ({"status": "failed", "step": "100%s"}, "Failed at step 100%s with"),
    ],
)
def test_one_sentence_says_what_happened(
    shop: Shop, root: Client, changes: dict[str, Any], sentence: str
) -> None:
    run = shop.fail("bad")
    lease = timezone.now() + timedelta(hours=1)
    Run.objects.update(**{"lease_expires_at": lease, **changes})
    assert sentence in shown(root, run).headline


def test_each_row_says_what_its_step_did(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    start, price, charge = shown(root, run).rows
    assert (start.sequence, start.kind, start.keys) == (0, "start", ["quantity"])
    assert (price.step, price.kind, price.keys, price.tries) == ("price", "step", ["total"], 1)
    assert (charge.step, charge.failed, charge.error.type) == ("charge", True, "CardDeclinedError")
    assert "4242" in charge.error.message
    assert "Traceback" in charge.error.traceback


def test_a_route_and_a_second_attempt_are_shown(shop: Shop, root: Client, confirm: Confirm) -> None:
    @stage
    def pick(ctx: Context) -> Send:
        return Send("premium", {"picked": True})

    @stage
    def gift(ctx: Context) -> Context:
        return ctx.set("gift", "mug")

    register("shop.gifts", Pipeline([pick, {"premium": [gift]}], durable=True))
    try:
        pipelines["shop.gifts"].invoke_sync({}, run_id="gift")
        run = Run.objects.get()
        confirm(root, address("replay", run))
        rows = shown(root, run).rows
        assert [row.attempt for row in rows] == [1, 1, 1, 2, 2, 2]
        assert [row.route for row in rows][1] == "premium"
    finally:
        pipelines.remove("shop.gifts")


def test_the_context_says_which_row_set_each_key(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    origins = {item.label: origin for item, origin in shown(root, run).state.items}
    assert origins == {"quantity": 0, "total": 1, "receipt": 2, "parcel": 3}


def test_a_run_and_its_fork_link_to_each_other(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    confirm(root, address("fork", run), as_run_id="again", patch="{}")
    fork = Run.objects.get(run_id="again")
    assert [link.address for link in shown(root, run).forks] == [page_of(fork)]
    facts = {fact.label: fact for fact in shown(root, fork).facts}
    assert facts["Forked from"].address == page_of(run)


def test_who_asked_and_about_what_is_among_the_facts(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    user = User.objects.create_user("grace")
    kind = ContentType.objects.get_for_model(User)
    Run.objects.update(requested_by=user, subject_type=kind, subject_id="17", takeovers=2)
    facts = {fact.label: fact.text for fact in shown(root, run).facts}
    assert facts["Requested by"] == "grace"
    assert facts["Subject"] == "auth.user 17"
    assert facts["Takeovers"] == "2"


# --- who may see values


@pytest.mark.security(2)
def test_who_may_see_a_run_does_not_therefore_see_its_values(
    shop: Shop, root: Client, sign_in: SignIn
) -> None:
    shop.message = "canary in the message"
    run = shop.fail("bad", note="canary", nested={"deep": ["canary"]})
    every_right = ["view_run", "resume_run", "replay_run", "fork_run", "diff_run"]
    for rights in (["view_run"], every_right):
        client = sign_in(*rights)
        pages = [page_of(run), *rows_of(run)]
        pages += [
            address(name, run) for name in ("resume", "replay", "fork", "diff")[: len(rights)]
        ]
        for page in pages:
            answer = client.get(page)
            assert "canary" not in answer.content.decode(), page
        assert "CardDeclinedError" in text(client, run)
        assert shown(client, run).rows[0].keys == ["quantity", "note", "nested"]
    assert "canary" in text(sign_in("view_run", "view_context"), run)


@pytest.mark.security(15)
def test_a_secret_is_masked_for_everybody(shop: Shop, root: Client) -> None:
    run = shop.buy("fine", token=Secret("canary"), tokens=[{"deep": Secret("canary")}])
    for page in [page_of(run), *rows_of(run), address("fork", run)]:
        answer = root.get(page)
        assert "canary" not in answer.content.decode(), page
    assert "Secret(***)" in text(root, run)


# --- hostile content


def test_nothing_that_a_run_holds_becomes_markup(shop: Shop, root: Client) -> None:
    shop.message = HOSTILE
    identity = "<script>alert(1)</script>\"'{{7*7}}"
    run = shop.fail(identity, **{HOSTILE: HOSTILE, "list": [HOSTILE, {HOSTILE: (HOSTILE,)}]})
    Run.objects.update(step=HOSTILE[:100], owner=HOSTILE, subject_id=HOSTILE[:200])
    pages = [page_of(run), *rows_of(run), "/admin/fluxio_django/run/"]
    pages += [address(name, run) for name in ("resume", "replay", "fork", "diff")]
    pages += [f"/admin/fluxio_django/run/{run.pk}/history/"]
    for page in pages:
        found = root.get(page).content.decode()
        assert "<script>alert" not in found, page
        assert "<img src=x" not in found, page
        assert ">49<" not in found
    assert escape(HOSTILE) in text(root, run)


def test_text_that_hides_or_turns_around_is_shown_escaped(shop: Shop, root: Client) -> None:
    shop.message = "ab\u202ecd \ud800"
    run = shop.fail("bad", **{"k\u202ey": "gpj.\u202eexe", "broken": "\ud800", "zero": "a\u200bb"})
    for page in [page_of(run), *rows_of(run)]:
        found = root.get(page).content.decode()
        assert "\u202e" not in found
        assert "\u200b" not in found
    assert "gpj.\\u202eexe" in text(root, run)
    assert "\\ud800" in text(root, run)


# --- damage


def test_a_damaged_row_is_named_and_hides_nothing_else(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    damaged = run.checkpoints.get(sequence=2)
    Checkpoint.objects.filter(pk=damaged.pk).update(payload="1:p:{}")
    rows = shown(root, run).rows
    assert [bool(row.damage) for row in rows] == [False, False, True, False]
    assert rows[3].keys == ["parcel"]
    page = text(root, run)
    assert "Row 2 is damaged:" in page
    assert "its digest does not match" in page
    assert "Row 2 of run" in shown(root, run).state.problem
    for row_page in rows_of(run):
        assert root.get(row_page).status_code == 200
    assert "Row 2 is damaged:" in root.get(rows_of(run)[2]).content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "nonsense"},
        {"kind": "start"},
        {"digest": ""},
        {"payload": ""},
        {"payload": "2:p:{}"},
        {"payload": "é"},
        {"attempt": 7},
        {"step": "<script>"},
        {"full": True},
        {"version": "x"},
        {"size": -1},
        {"duration": -1.0},
    ],
    ids=str,
)
def test_whatever_was_done_to_a_row_its_pages_open(
    shop: Shop, root: Client, changes: dict[str, Any]
) -> None:
    run = shop.fail("bad")
    for sequence in range(3):
        Checkpoint.objects.filter(run=run, sequence=sequence).update(**changes)
        shown(root, run)
        for page in [*rows_of(run), address("fork", run), address("replay", run)]:
            assert root.get(page).status_code == 200


@pytest.mark.parametrize("missing", [[0], [1], [2], [0, 1, 2]])
def test_a_missing_row_is_named(shop: Shop, root: Client, missing: list[int]) -> None:
    run = shop.fail("bad")
    run.checkpoints.filter(sequence__in=missing).delete()
    rows = shown(root, run).rows
    assert [row.sequence for row in rows if row.damage] == missing
    assert "it is missing from the log" in text(root, run)


def test_a_large_row_is_left_to_its_own_page(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.buy("fine", large="x" * 5_000)
    monkeypatch.setattr(log, "MOST_BYTES_OF_ROW", 2_000)
    rows = shown(root, run).rows
    assert [row.unopened for row in rows] == [True, False, False, False]
    assert "Large; open the row" in text(root, run)
    assert "xxxxx" in root.get(rows_of(run)[0]).content.decode()


# --- size


def long_run(steps: int) -> Run:
    """A run of so many steps."""
    name = f"shop.long{steps}"
    nodes = [stage(version=str(at))(_named(f"step{at}")) for at in range(steps)]
    register(name, Pipeline(nodes, durable=True))
    pipelines[name].invoke_sync({}, run_id=f"long-{steps}")
    pipelines.remove(name)
    return Run.objects.get(run_id=f"long-{steps}")


def _named(name: str) -> Any:
    def work(ctx: Context) -> Context:
        return ctx.set(name, name)

    work.__name__ = work.__qualname__ = name
    return work


def test_a_page_costs_the_same_however_long_the_log_is(shop: Shop, root: Client) -> None:
    def queries(run: Run) -> int:
        with CaptureQueriesContext(connection) as captured:
            shown(root, run)
        return len(captured)

    short, long = long_run(3), long_run(90)
    queries(short)
    assert queries(short) == queries(long) <= 12


@pytest.mark.security(19)
def test_a_page_costs_no_more_than_twelve_queries_whatever_it_shows(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    parent = shop.fail("parent")
    confirm(root, address("fork", parent), as_run_id="child", patch="{}")
    shop.declines = True
    with pytest.raises(CardDeclinedError):
        services.replay("child")
    child = Run.objects.get(run_id="child")
    kind = ContentType.objects.get_for_model(User)
    lease = timezone.now() + timedelta(hours=1)
    Run.objects.filter(pk=child.pk).update(
        requested_by=User.objects.create_user("grace"),
        subject_type=kind,
        subject_id="17",
        status="running",
        owner="elsewhere:1::",
        lease_expires_at=lease,
    )
    with CaptureQueriesContext(connection) as captured:
        text(root, child)
    assert len(captured) <= 12, [query["sql"] for query in captured]


def test_a_long_log_is_shown_page_by_page_the_newest_first(shop: Shop, root: Client) -> None:
    run = long_run(250)
    newest = shown(root, run)
    assert (newest.rows[0].sequence, newest.rows[-1].sequence) == (151, 250)
    assert newest.newer == ""
    middle = root.get(newest.older).context["page"]
    assert (middle.rows[0].sequence, middle.rows[-1].sequence) == (51, 150)
    assert shown(root, run, row="0").older == ""
    for nonsense in ("-1", "x", "9" * 30, "٣"):
        assert shown(root, run, row=nonsense).rows[-1].sequence == 250
    assert shown(root, run, row="999999").rows[-1].sequence == 250


def test_a_huge_value_does_not_make_a_huge_page(shop: Shop, root: Client) -> None:
    run = shop.buy("fine", many=list(range(20_000)), deep=_nested(50), wide="x" * 50_000)
    assert len(text(root, run)) < 600_000


def _nested(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"deeper": value}
    return value
