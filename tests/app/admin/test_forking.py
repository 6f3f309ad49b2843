"""A fork's context is edited key by key, and what that changes is shown before it is done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pydantic import BaseModel

from fluxio import Context, Pipeline, Secret, stage
from fluxio_django import pipelines, register, services
from fluxio_django.admin.editing import ForkForm, editable_keys, editable_text, typed_value
from fluxio_django.admin.forking import Preview
from fluxio_django.models import Run
from tests.app.admin.desk import Confirm, SignIn, address, everything
from tests.app.admin.shop import CHECKOUT, Shop


def form_of(answer: Any) -> ForkForm:
    form: ForkForm = answer.context["form"]
    return form


def fields_of(answer: Any) -> dict[str, str]:
    """The text of each key's field, "" where it has none."""
    return {
        key.key: str(field.value()) if field is not None else ""
        for key, field in form_of(answer).key_fields
    }


def name_of(key: str) -> str:
    """The name of a key's field."""
    (found,) = editable_keys({key: None})
    return found.name


def filled_in(page: Any, **changed: str) -> dict[str, str]:
    """What a browser would send: every field as it is, but for what is changed."""
    form = form_of(page)
    data = {bound.html_name: bound.value() or "" for bound in form}
    return {**data, "reason": "why not", "confirmation": page.context["confirmation"], **changed}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        12,
        1.5,
        "text",
        "a\nb\u202ec",
        Decimal("12.50"),
        date(2026, 2, 3),
        UUID(int=7),
        (1, [2, {"three": b"4"}], {5}),
        {"$odd": 1},
    ],
)
def test_a_value_comes_back_from_its_field_as_it_was(value: Any) -> None:
    text = editable_text(value)
    assert text is not None
    assert "\u202e" not in text
    assert typed_value(text) == value
    assert type(typed_value(text)) is type(value)


@pytest.mark.parametrize(
    "value", [Secret("x"), {"deep": [Secret(1)]}, "x" * 5_000, object(), {"a": Secret(None)}]
)
def test_what_is_hidden_large_or_unknown_has_no_field(value: Any) -> None:
    assert editable_text(value) is None


def test_each_key_has_a_field_with_its_type(shop: Shop, root: Client) -> None:
    run = shop.fail("bad", note="hello", password="hunter2")
    page = root.get(address("fork", run) + "&from_step=charge")
    assert fields_of(page) == {
        "quantity": "2",
        "note": '"hello"',
        "password": "",
        "total": '{"$decimal": "25.00"}',
    }
    text = page.content.decode()
    assert "hunter2" not in text
    assert [key.kind for key, _field in form_of(page).key_fields][-1] == "Decimal"
    assert "stays as it is recorded" in text


def test_only_what_was_edited_is_set(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad", note="hello")
    where = address("fork", run) + "&from_step=charge"
    page = root.get(where)
    edited = {name_of("total"): '{"$decimal": "9.90"}', "as_run_id": "again"}
    data = filled_in(page, **edited)
    preview: Preview = root.post(where, {**data, "_preview": "1"}).context["preview"]
    assert [(change.path, change.kind) for change in preview.changes] == [('["total"]', "changed")]
    assert preview.stays == 2
    assert preview.run_id == "again"
    data.pop("confirmation")
    data.pop("reason")
    confirm(root, where, **data)
    forked = services.state("again")
    assert forked["receipt"]["amount"] == Decimal("9.90")
    assert forked["note"] == "hello"


def test_a_preview_starts_nothing_and_shows_types_that_change(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    where = address("fork", run) + "&from_step=charge"
    before = everything()
    data = filled_in(root.get(where), **{name_of("total"): "25", "patch": '{"new": [1]}'})
    answer = root.post(where, {**data, "_preview": "1"})
    changes = answer.context["preview"].changes
    assert [(change.path, change.kind) for change in changes] == [
        ('["total"]', "type changed"),
        ('["new"]', "added"),
    ]
    assert "Change something" in answer.content.decode()
    assert everything() == before


def test_a_fork_without_changes_says_so(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    data = filled_in(root.get(address("fork", run)))
    text = root.post(address("fork", run), {**data, "_preview": "1"}).content.decode()
    assert "Nothing changes" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Write a JSON value"),
        ("{", "this is no JSON"),
        ('{"$decimal": "x"}', "malformed"),
        ('{"$:orders.Order": 7}', "built-in types only"),
        ("[" * 100_000, "nested"),
    ],
)
def test_a_field_that_holds_no_value_says_why(
    shop: Shop, root: Client, text: str, reason: str
) -> None:
    run = shop.fail("bad")
    before = everything()
    data = filled_in(root.get(address("fork", run)), **{name_of("total"): text})
    for button in ({"_preview": "1"}, {}):
        answer = root.post(address("fork", run), {**data, **button})
        assert reason in str(form_of(answer).errors[name_of("total")])
        assert "preview" not in answer.context
    assert everything() == before


def test_a_key_is_set_in_one_place_only(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    edited = {name_of("quantity"): "3", "patch": '{"quantity": 4}'}
    data = filled_in(root.get(address("fork", run)), **edited)
    answer = root.post(address("fork", run), {**data, "_preview": "1"})
    assert "as well: quantity" in str(form_of(answer).errors["patch"])


def test_another_step_shows_its_own_context_and_keeps_what_was_written(
    shop: Shop, root: Client
) -> None:
    run = shop.fail("bad")
    where = address("fork", run) + "&from_step=charge"
    data = filled_in(
        root.get(where), from_step="price", as_run_id="again", **{name_of("quantity"): "3"}
    )
    answer = root.post(where, {**data, "_show": "1"})
    assert fields_of(answer) == {"quantity": "3"}
    assert form_of(answer)["as_run_id"].value() == "again"
    assert form_of(answer)["shown_from"].value() == "price"
    again = root.post(where, {**filled_in(answer), "_preview": "1"})
    assert [change.path for change in again.context["preview"].changes] == ['["quantity"]']


def test_the_schema_of_the_first_step_has_its_say(root: Client, shop: Shop) -> None:
    class Order(BaseModel):
        quantity: int

    @stage(version="1", input_schema=Order)
    def price(ctx: Context) -> Context:
        return ctx.set("total", 1)

    pipelines.remove(CHECKOUT)
    register(CHECKOUT, Pipeline([price, *shop.nodes()[1:]], durable=True))
    run = shop.fail("bad")
    before = everything()
    where = address("fork", run) + "&from_step=price"
    data = filled_in(root.get(where), **{name_of("quantity"): '"canary"'})
    for button in ({"_preview": "1"}, {}):
        answer = root.post(where, {**data, **button})
        (reason,) = form_of(answer).non_field_errors()
        assert "does not fit Order: quantity" in reason
        assert "canary" not in reason
    assert everything() == before


def test_who_may_not_see_values_sets_keys_without_seeing_them(
    shop: Shop, sign_in: SignIn, confirm: Confirm
) -> None:
    run = shop.fail("bad", note="canary")
    client = sign_in("view_run", "fork_run")
    where = address("fork", run) + "&from_step=charge"
    page = client.get(where)
    assert fields_of(page) == {}
    data = filled_in(page, patch='{"note": "mine"}', as_run_id="again")
    answer = client.post(where, {**data, "_preview": "1"})
    assert answer.context["preview"].names == ["note"]
    for text in (page.content.decode(), answer.content.decode()):
        assert "canary" not in text
        assert "25.00" not in text
    # Somebody who makes up a field for a key does not get its value changed by it.
    made_up = {name_of("note"): '"guess"'}
    confirm(client, where, **made_up, patch="{}", as_run_id="again", from_step="charge")
    assert services.state("again")["note"] == "canary"


def test_the_context_of_a_run_that_cannot_be_forked_is_not_shown(shop: Shop, root: Client) -> None:
    run = shop.fail("bad", note="canary")
    Run.objects.filter(pk=run.pk).update(pipeline="gone")
    answer = root.post(address("fork", run), {"_preview": "1", "_show": "1"})
    assert "canary" not in answer.content.decode()


def test_a_large_context_has_bounded_fields(
    shop: Shop, root: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    run = shop.fail("bad", **{f"key{number}": "x" * 3_000 for number in range(300)})
    with django_assert_max_num_queries(20):
        page = root.get(address("fork", run))
    fields = fields_of(page)
    assert len([text for text in fields.values() if text]) == 100
    data = filled_in(page, **{name_of("key7"): '"y"'})
    preview = root.post(address("fork", run), {**data, "_preview": "1"}).context["preview"]
    assert [change.path for change in preview.changes] == ['["key7"]']
