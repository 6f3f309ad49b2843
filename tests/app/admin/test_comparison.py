"""Two moments side by side: what differs, for whom, and what it leaves in the audit trail."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from fluxio_django.admin import comparison
from fluxio_django.models import Run
from tests.app.admin.desk import Confirm, SignIn, address, everything, foreign_runs_are_hidden
from tests.app.admin.shop import Shop

DIFF = "/admin/fluxio_django/run/diff/"


def changes(answer: object) -> list[tuple[str, str]]:
    found = answer.context["comparison"].changes  # type: ignore[attr-defined]
    return [(change.path, change.kind) for change in found]


def test_two_runs_are_compared_key_by_key(shop: Shop, root: Client, confirm: Confirm) -> None:
    a = shop.buy("a", quantity=1, lines=[{"price": 1}])
    b = shop.buy("b", quantity=2, lines=[{"price": 1.0}], note="new")
    page = root.get(address("diff", a, b))
    assert page.context["form"].initial == {"a": "a", "b": "b"}
    answer = confirm(root, address("diff", a, b), a="a", b="b")
    assert answer.status_code == 200
    assert ('["lines"][0]["price"]', "type changed") in changes(answer)
    assert ('["note"]', "added") in changes(answer)
    assert ('["quantity"]', "changed") in changes(answer)


def test_any_two_recorded_moments_are_compared(shop: Shop, root: Client, confirm: Confirm) -> None:
    shop.buy("run")
    answer = confirm(root, DIFF, a="run", at_a="0", b="run", at_b="ship")
    assert changes(answer) == [('["total"]', "added"), ('["receipt"]', "added")]
    answer = confirm(root, DIFF, a="run", b="run", at_b="3")
    assert "Both are the same" in answer.content.decode()


def test_two_attempts_of_a_run_are_compared(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    confirm(root, address("replay", run))
    answer = confirm(root, DIFF, a="bad", at_a="attempt 1", b="bad", at_b="attempt 2")
    assert changes(answer) == [('["receipt"]', "added"), ('["parcel"]', "added")]
    answer = confirm(root, DIFF, a="bad", at_a="attempt 7", b="bad")
    assert answer.status_code == 200
    assert "no row of attempt 7" in answer.content.decode()


def test_what_is_the_same_is_shown_when_it_is_asked_for(
    shop: Shop, root: Client, sign_in: SignIn, confirm: Confirm
) -> None:
    shop.buy("a", note="canary")
    shop.buy("b", note="canary", quantity=3)
    answer = confirm(root, DIFF, a="a", b="b", show="all")
    assert changes(answer)[-1] == ('["note"]', "same")
    assert answer.content.decode().count("canary") == 1
    answer = confirm(sign_in("view_run", "diff_run"), DIFF, a="a", b="b", show="all")
    assert changes(answer)[-1] == ("note", "same")
    assert "canary" not in answer.content.decode()


def test_the_address_can_name_the_moments(shop: Shop, root: Client) -> None:
    a, b = shop.buy("a"), shop.buy("b")
    form = root.get(address("diff", a, b) + "&at_a=1&at_b=ship").context["form"]
    assert form.initial == {"a": "a", "b": "b", "at_a": "1", "at_b": "ship"}


def test_what_is_compared_is_not_changed(shop: Shop, root: Client, confirm: Confirm) -> None:
    shop.buy("a")
    shop.fail("b")
    runs, rows, versions, _ = everything()
    confirm(root, DIFF, a="a", b="b")
    assert everything()[:3] == [runs, rows, versions]
    assert shop.done == []


def test_who_may_not_see_values_learns_which_keys_differ_and_no_more(
    shop: Shop, sign_in: SignIn, confirm: Confirm
) -> None:
    shop.buy("a", people={"canary-a@example.org": "canary"}, note="canary")
    shop.buy("b", people={"canary-b@example.org": "canary"}, other="canary")
    client = sign_in("view_run", "diff_run")
    answer = confirm(client, DIFF, a="a", b="b")
    assert changes(answer) == [("people", "changed"), ("note", "removed"), ("other", "added")]
    assert "canary" not in answer.content.decode()


@pytest.mark.security(5)
@pytest.mark.parametrize("unknown", ["nowhere", "theirs"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_a_foreign_run_is_as_unknown_as_one_that_does_not_exist(
    shop: Shop,
    root: Client,
    confirm: Confirm,
    monkeypatch: pytest.MonkeyPatch,
    unknown: str,
    side: str,
) -> None:
    shop.buy("mine", secret=1)
    shop.buy("theirs", secret=2)
    foreign_runs_are_hidden(monkeypatch)
    before = everything()
    answer = confirm(root, DIFF, **{"a": "mine", "b": "mine", side: unknown})
    assert answer.status_code == 404
    assert "There is no such run." in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("at_a", "17", "there is no row 17"),
        ("at_a", "nonsense", "is no step"),
        ("at_a", "9" * 200, "No run has so many rows."),
        ("at_b", "-1", "is no step"),
        ("reason", " ", "required"),
        ("b", "", "required"),
        ("a", "x" * 129, "128"),
    ],
)
def test_a_wrong_question_is_answered_with_the_reason(
    shop: Shop, root: Client, confirm: Confirm, field: str, value: str, reason: str
) -> None:
    shop.buy("run")
    before = everything()
    answer = confirm(root, DIFF, **{"a": "run", "b": "run", field: value})
    assert answer.status_code == 200
    assert reason in answer.content.decode()
    assert everything() == before


def test_a_damaged_row_is_named(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.buy("run")
    run.checkpoints.filter(sequence=1).update(payload="1:p:{}")
    answer = confirm(root, DIFF, a="run", b="run", at_a="0")
    assert "Row 1 of run" in answer.content.decode()
    assert LogEntry.objects.count() == 0


def test_a_comparison_is_noted_in_both_trails_once(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    a, b = shop.buy("a"), shop.buy("b")
    token = root.get(DIFF).context["confirmation"]
    for _ in range(2):
        answer = confirm.send(root, DIFF, token, a="a", b="b")
        assert answer.context["comparison"] is not None
    entries = LogEntry.objects.order_by("object_id")
    assert [entry.object_id for entry in entries] == sorted([str(a.pk), str(b.pk)])
    assert {entry.change_message.split(" [")[0] for entry in entries} == {
        "Compare with a",
        "Compare with b",
    }


@pytest.mark.security(19)
def test_an_endless_list_of_differences_is_cut(
    shop: Shop, root: Client, sign_in: SignIn, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST_CHANGES", 5)
    shop.buy("a", **{f"key{number}": 1 for number in range(20)})
    shop.buy("b", **{f"key{number}": 2 for number in range(20)})
    for client in (root, sign_in("view_run", "diff_run")):
        answer = confirm(client, DIFF, a="a", b="b")
        assert len(changes(answer)) == 5
        assert "There are more differences" in answer.content.decode()


def test_runs_of_different_pipelines_and_versions_are_compared(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    shop.buy("old")
    Run.objects.filter(run_id="old").update(version="0" * 14)
    shop.buy("new", note=1)
    assert changes(confirm(root, DIFF, a="old", b="new")) == [('["note"]', "added")]
