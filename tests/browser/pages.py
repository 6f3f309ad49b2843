"""The example's pages, and one whose run waits for the test, under one root."""

from __future__ import annotations

from threading import Event

from django import forms
from django.urls import include, path

from fluxio import Context, Pipeline, current_step, stage
from fluxio_django.views import PipelineFormView

NAME = "browser.slow"

GATES = {"first": Event(), "second": Event()}


@stage(version="1")
def first(ctx: Context) -> Context:
    current_step().progress(3, 12, "pages")
    assert GATES["first"].wait(60)
    return ctx.set("first", True)


@stage(version="1")
def second(ctx: Context) -> Context:
    assert GATES["second"].wait(60)
    return ctx.set("answer", f"42 for {ctx['name']}")


def slow() -> Pipeline:
    return Pipeline([first, second], durable=True)


class NameForm(forms.Form):
    name = forms.CharField()


class Slow(PipelineFormView):
    pipeline = NAME
    form_class = NameForm
    shows = ("answer",)
    refresh_seconds = 1


urlpatterns = [
    path("slow/", Slow.as_view()),
    path("", include("example_project.urls")),
]
