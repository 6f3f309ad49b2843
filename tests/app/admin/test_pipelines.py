"""The pages of pipelines: what is registered, how its newest runs went, how long its steps take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from fluxio_django import pipelines
from fluxio_django.admin import samples
from fluxio_django.admin.pipelines import RunsOf, VersionLine
from fluxio_django.admin.plots import WIDTH, Scale, spread_plot
from fluxio_django.admin.samples import Spread
from fluxio_django.models import Checkpoint, PipelineVersion, Run
from tests.app.admin.desk import SignIn
from tests.app.admin.shop import CHECKOUT, Shop

ALL = "/admin/fluxio_django/pipelineversion/pipelines/"
ONE = "/admin/fluxio_django/pipelineversion/pipeline/"


def page(client: Client, name: str = CHECKOUT) -> Any:
    answer = client.get(ONE, {"pipeline": name})
    assert answer.status_code == 200, answer
    return answer


def runs_of(client: Client) -> RunsOf:
    found: RunsOf = page(client).context["runs"]
    return found


def test_all_pipelines_are_listed_with_how_their_newest_runs_went(shop: Shop, root: Client) -> None:
    shop.buy("good")
    shop.fail("bad")
    PipelineVersion.objects.create(pipeline="gone", version="x", manifest="[]")
    lines = {line.name: line for line in root.get(ALL).context["lines"]}
    assert {*pipelines.names(), "gone"} == set(lines)
    line = lines[CHECKOUT]
    assert (line.steps, line.versions, line.open) == (3, 1, 0)
    assert line.figures.failed == "50 % (1 of 2)"
    assert (lines["gone"].code.pipeline, lines["gone"].figures.failed) == (None, "")


def test_a_pipeline_shows_the_share_that_failed_and_what_each_step_did(
    shop: Shop, root: Client
) -> None:
    for number in range(3):
        shop.buy(f"good{number}")
    shop.fail("bad")
    found = runs_of(root)
    assert (found.figures.ended, found.figures.failed) == (4, "25 % (1 of 4)")
    steps = {step.key: step for step in found.steps}
    assert list(steps) == ["price", "charge", "ship"]
    assert [(step.count, step.failures) for step in found.steps] == [(4, 0), (3, 1), (3, 0)]
    text = page(root).content.decode()
    assert text.count('class="fluxio-plot"') == 5  # the runs, three steps, the axis
    assert "The pipeline as a picture" in text
    assert "not run" not in text


def test_durations_of_steps_are_shown_as_median_and_percentile(shop: Shop, root: Client) -> None:
    shop.buy("run")
    row = Checkpoint.objects.get(step="charge")
    for number in range(1, 20):
        run = Run.objects.get(run_id="run")
        run.pk, run.run_id = None, f"copy{number}"
        run.save()
        row.pk, row.run, row.duration = None, run, float(number)
        row.save()
    Checkpoint.objects.filter(step="charge", run__run_id="run").update(duration=100.0)
    step = {step.key: step for step in runs_of(root).steps}["charge"]
    assert (step.count, step.median, step.p95) == (20, "10.50 s", "19.00 s")


def test_the_sample_is_the_newest_runs_and_bounded(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        shop.buy(f"run{number}")
    oldest = shop.fail("old")
    Run.objects.filter(pk=oldest.pk).update(created_at=oldest.created_at - timedelta(days=1))
    monkeypatch.setattr(samples, "MOST_ENDED", 3)
    assert runs_of(root).figures.failed == "0 % (0 of 3)"
    monkeypatch.setattr(samples, "MOST_ROWS", 9)
    found = runs_of(root)
    assert found.sampled.runs == 2
    assert found.sampled.rows <= 9
    assert "of the newest 2 runs" in page(root).content.decode()


def test_versions_show_their_open_runs_and_what_becomes_of_them(shop: Shop, root: Client) -> None:
    shop.buy("run")
    pipelines[CHECKOUT].enqueue_sync({"quantity": 1}, "waiting")
    shop.change_last_stage(compatible_with=[Run.objects.get(run_id="run").version])
    shop.buy("new")
    PipelineVersion.objects.create(pipeline=CHECKOUT, version="0" * 16, manifest="[]")
    lines: list[VersionLine] = page(root).context["versions"]
    passages = {line.version: (line.open, line.passage) for line in lines}
    assert sorted(passages.values()) == [
        (0, "they go on"),
        (0, "they take a decision: other code"),
        (1, "declared compatible"),
    ]


def test_a_pipeline_that_is_gone_or_broken_says_so(shop: Shop, root: Client) -> None:
    shop.buy("run")
    pipelines.remove(CHECKOUT)
    text = page(root).content.decode()
    assert "No pipeline of this name is registered any more." in text
    assert "Durations of steps" in text

    def broken() -> None:
        raise RuntimeError("secret")

    pipelines.add(CHECKOUT, broken)  # type: ignore[arg-type]
    text = page(root).content.decode()
    assert "its factory raised RuntimeError" in text
    assert "secret" not in text
    assert root.get(ALL).status_code == 200


def test_a_pipeline_without_runs_has_a_page(shop: Shop, root: Client) -> None:
    text = page(root).content.decode()
    assert "No run of it has been recorded yet." in text
    assert "No run of it has ended by itself yet." in text


@pytest.mark.parametrize("name", ["", "none", "a\nb", "\ud800", "x" * 500])
def test_an_unknown_pipeline_is_not_found(root: Client, name: str) -> None:
    assert root.get(ONE, {"pipeline": name.encode(errors="surrogatepass")}).status_code == 404


def test_only_who_may_see_runs_sees_how_they_went(shop: Shop, sign_in: SignIn) -> None:
    shop.fail("bad")
    seen = page(sign_in("view_pipelineversion"))
    assert seen.context["runs"] is None
    assert "fluxio-rate" not in seen.content.decode()
    overview = sign_in("view_pipelineversion").get(ALL).content.decode()
    assert "Open runs" not in overview
    for rights in ([], ["view_run"]):
        for where in (ALL, f"{ONE}?pipeline={CHECKOUT}"):
            assert sign_in(*rights).get(where).status_code == 403
            assert sign_in(*rights).post(where).status_code in (403, 405)


def test_runs_of_others_are_in_no_figure(shop: Shop, sign_in: SignIn, settings: Any) -> None:
    shop.buy("mine")
    shop.fail("theirs")
    settings.FLUXIO = {**settings.FLUXIO, "VISIBLE_TO": only_mine}
    client = sign_in("view_pipelineversion", "view_run")
    assert runs_of(client).figures.failed == "0 % (0 of 1)"
    assert "theirs" not in page(client).content.decode()
    (line,) = [line for line in client.get(ALL).context["lines"] if line.name == CHECKOUT]
    assert line.figures.ended == 1


def only_mine(user: Any, runs: Any) -> Any:
    return runs.filter(run_id="mine")


def test_the_pages_ask_a_bounded_number_of_queries(
    shop: Shop, sign_in: SignIn, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    client = sign_in("view_pipelineversion", "view_run")
    for number in range(4):
        shop.buy(f"run{number}")
        PipelineVersion.objects.create(pipeline=CHECKOUT, version=str(number), manifest="[]")
    with django_assert_max_num_queries(12):
        client.get(ALL)
    with django_assert_max_num_queries(12):
        page(client)


def test_a_plot_shows_durations_where_they_lie() -> None:
    scale = Scale.over([Spread([0.001, 0.1])])
    assert (scale.first, scale.last) == (-3, -1)
    assert [text for _place, text in scale.ticks()] == ["1 ms", "10 ms", "100 ms"]
    plot = spread_plot(Spread([0.001, 0.001, 0.01, 0.1]), scale)
    assert [bar.height for bar in plot.bars] == [28.0, 14.0, 14.0]
    assert plot.bars[0].x == 0
    assert plot.bars[-1].x + plot.bars[-1].width == WIDTH - 1
    assert plot.p95 == WIDTH


def test_a_step_that_took_no_time_at_all_can_be_drawn() -> None:
    spread = Spread([0.0, 0.0])
    assert spread_plot(spread, Scale.over([spread])).bars[0].x == 0


def test_the_page_of_a_run_leads_to_its_pipeline(shop: Shop, root: Client, sign_in: SignIn) -> None:
    run = shop.buy("run")
    where = f"/admin/fluxio_django/run/{run.pk}/change/"
    assert f"{ONE}?pipeline={CHECKOUT}" in root.get(where).content.decode()
    assert Permission.objects.filter(codename="view_pipelineversion").exists()
    assert ONE not in sign_in("view_run").get(where).content.decode()
