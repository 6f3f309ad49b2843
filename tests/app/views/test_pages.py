"""A form starts a run; its page shows how it goes and what came of it, to those it is meant for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from fluxio_django import Limits
from fluxio_django.models import Run
from fluxio_django.registry import pipelines
from fluxio_django.views import PipelineFormView
from tests.app.views.shop import CANARY, OPEN, browser, checkout

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.app.views.test_pages")]


class Order(forms.Form):
    quantity = forms.IntegerField(min_value=1)
    card = forms.CharField(required=False)


class Checkout(PipelineFormView):
    pipeline = OPEN
    form_class = Order
    shows = ("total", "receipt", "api_key", "pin")


class Numbered(Checkout):
    """Its runs have ids that anybody can guess."""

    def get_run_id(self, form: forms.Form) -> str:
        return f"order-{form.cleaned_data['quantity']}"


class WithFile(PipelineFormView):
    pipeline = OPEN

    class form_class(forms.Form):
        file = forms.FileField()


class Unnamed(PipelineFormView):
    form_class = Order


urlpatterns = [
    path("checkout/", Checkout.as_view()),
    path("numbered/", Numbered.as_view()),
    path("file/", WithFile.as_view()),
    path("unnamed/", Unnamed.as_view()),
]


@pytest.fixture
def send(django_capture_on_commit_callbacks: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """Send the form, and have the run executed."""

    def send(client: Client, address: str = "/checkout/", **fields: Any) -> HttpResponse:
        with django_capture_on_commit_callbacks(execute=True):
            answer: HttpResponse = client.post(address, {"quantity": 2, **fields})
        return answer

    return send


def key_in(page: HttpResponse) -> str:
    found = re.search(r'name="fluxio_key" value="([0-9a-f]{32})"', page.content.decode())
    assert found is not None
    return found[1]


def test_a_form_starts_a_run_and_leads_to_its_result(ada: User, send: Callable[..., Any]) -> None:
    client = browser(ada)
    assert b"Quantity" in client.get("/checkout/").content
    answer = send(client)
    assert answer.status_code == 302
    page = client.get(answer["Location"]).content.decode()
    assert "Succeeded" in page
    assert "<dt>total</dt><dd>10</dd>" in page
    assert "<script" not in page
    assert Run.objects.get().requested_by == ada


def test_the_page_of_an_open_run_looks_again_with_and_without_javascript(ada: User) -> None:
    client = browser(ada)
    answer = client.post("/checkout/", {"quantity": 2})  # nobody executes it
    page = client.get(answer["Location"]).content.decode()
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert "run-page.js" in page
    assert "Queued" in page
    assert not re.search(r"<script(?![^>]* src=)| style=| on[a-z]+=", page)
    fragment = client.get(answer["Location"], headers={"X-Fluxio-Fragment": "1"})
    assert "<html" not in fragment.content.decode()
    assert "X-Fluxio-Ended" not in fragment
    Run.objects.update(status="cancelled")
    ended = client.get(answer["Location"], headers={"X-Fluxio-Fragment": "1"})
    assert ended["X-Fluxio-Ended"] == "1"


def test_what_a_stage_says_of_its_progress_is_shown(ada: User) -> None:
    from django.utils import timezone

    client = browser(ada)
    answer = client.post("/checkout/", {"quantity": 2})
    Run.objects.update(
        status="running", step="price", progress_done=30, progress_total=120,
        progress_note="<b>rows</b>", progress_at=timezone.now(),
    )  # fmt: skip
    page = client.get(answer["Location"]).content.decode()
    assert '<progress max="120" value="30">' in page
    assert "&lt;b&gt;rows" in page


def test_a_failure_is_shown_without_what_it_says(ada: User, send: Callable[..., Any]) -> None:
    client = browser(ada)
    page = client.get(send(client, card="declined")["Location"]).content.decode()
    assert "could not be completed" in page
    assert "charge: failed" in page
    assert "declined" not in page


def test_the_result_shows_what_was_chosen_and_masks_what_is_secret(
    ada: User, send: Callable[..., Any]
) -> None:
    client = browser(ada)
    page = client.get(send(client)["Location"]).content.decode()
    assert "receipt" in page
    assert "internal" not in page
    assert CANARY not in page


def test_whoever_is_not_signed_in_sees_the_runs_of_the_session(send: Callable[..., Any]) -> None:
    client = Client()
    address = send(client)["Location"]
    assert client.get(address).status_code == 200
    assert Client().get(address).status_code == 404


def test_others_do_not_see_the_run(ada: User, bob: User, send: Callable[..., Any]) -> None:
    address = send(browser(ada))["Location"]
    assert browser(ada).get(address).status_code == 200
    assert browser(bob).get(address).status_code == 404
    assert browser(bob).get("/checkout/?run=nothing").status_code == 404
    assert browser(bob).get("/checkout/?run=a%20b").status_code == 404


def test_a_form_that_is_sent_twice_starts_one_run(ada: User, send: Callable[..., Any]) -> None:
    client = browser(ada)
    key = key_in(client.get("/checkout/"))
    first, again = (send(client, fluxio_key=key)["Location"] for _ in range(2))
    assert first == again
    assert Run.objects.count() == 1
    assert send(client, fluxio_key=key_in(client.get("/checkout/")))["Location"] != first


@pytest.fixture
def deduplicated() -> None:
    """While an order is open, no other one of so many is enqueued."""
    pipelines.remove(OPEN)
    pipelines.add(OPEN, checkout, Limits(deduplicate_by=("quantity",)))


@pytest.mark.security(7)
@pytest.mark.parametrize("is_known", [False, True])
def test_whoever_starts_the_run_of_somebody_else_is_neither_led_to_it_nor_shown_it(
    ada: User, bob: User, send: Callable[..., Any], is_known: bool
) -> None:
    address = send(Client(), "/numbered/")["Location"]
    stranger = browser(bob if is_known else None)
    answer = send(stranger, "/numbered/", card="x")
    assert answer.status_code == 409
    assert "There is such a run already." in answer.content.decode()
    assert stranger.get(address).status_code == 404
    assert Run.objects.count() == 1


@pytest.mark.security(7)
def test_nor_is_whoever_is_held_to_the_open_run_of_somebody_else(deduplicated: None) -> None:
    owner, stranger = Client(), Client()
    address = owner.post("/checkout/", {"quantity": 2})["Location"]  # nobody executes it
    assert stranger.post("/checkout/", {"quantity": 2}).status_code == 409
    assert stranger.get(address).status_code == 404
    assert owner.post("/checkout/", {"quantity": 2})["Location"] == address


def test_whoever_may_know_of_the_run_is_led_to_it(
    ada: User, settings: Any, send: Callable[..., Any]
) -> None:
    settings.FLUXIO = settings.FLUXIO | {"VISIBLE_TO": lambda user, runs: runs}
    address = send(Client(), "/numbered/")["Location"]
    client = browser(ada)
    assert send(client, "/numbered/")["Location"] == address
    assert client.get(address).status_code == 200
    settings.FLUXIO = settings.FLUXIO | {"VISIBLE_TO": lambda user, runs: runs.none()}
    assert client.get(address).status_code == 404


def test_two_clicks_of_one_visitor_lead_to_one_run_before_there_is_a_session(
    send: Callable[..., Any],
) -> None:
    key = key_in(Client().get("/numbered/"))
    first, again = (send(Client(), "/numbered/", fluxio_key=key) for _ in range(2))
    assert first["Location"] == again["Location"]
    assert send(Client(), "/numbered/", fluxio_key="0" * 32).status_code == 409


def test_a_form_that_is_wrong_starts_nothing(ada: User, send: Callable[..., Any]) -> None:
    answer = send(browser(ada), quantity=0)
    assert answer.status_code == 422
    assert Run.objects.count() == 0


@pytest.mark.security(20)
def test_a_flood_is_slowed_down(settings: Any, send: Callable[..., Any]) -> None:
    settings.FLUXIO = settings.FLUXIO | {"START_RATE": "1/d"}
    client = Client()
    assert [send(client).status_code for _ in range(2)] == [302, 429]
    assert "Try again in" in send(client).content.decode()


def test_a_get_starts_nothing(ada: User) -> None:
    client = browser(ada)
    for method in (client.get, client.head):
        assert method("/checkout/?quantity=2").status_code == 200
    assert Run.objects.count() == 0


def test_the_form_needs_the_csrf_token(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/checkout/", {"quantity": 2}).status_code == 403
    assert Run.objects.count() == 0


def test_what_cannot_be_stored_is_told_with_the_remedy(ada: User) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    upload = SimpleUploadedFile("a.csv", b"x")
    with pytest.raises(ImproperlyConfigured, match="Override initial_context"):
        browser(ada).post("/file/", {"file": upload})


def test_a_view_without_a_pipeline_says_so(ada: User) -> None:
    with pytest.raises(ImproperlyConfigured, match="starts no pipeline"):
        browser(ada).post("/unnamed/", {"quantity": 2})
