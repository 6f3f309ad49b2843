"""Which pages are shown in pictures, and what is done there first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Page

from fluxio_django.models import Checkpoint, PipelineVersion, Run
from tests.screenshots.world import CHECKOUT, World

ADMIN = "/admin/fluxio_django/"
Act = Callable[[Page], object]


@dataclass(frozen=True)
class Shot:
    """A page under a name; `act` is done once it is open."""

    name: str
    path: str
    act: Act | None = None


def shots_of_nothing() -> Iterator[Shot]:
    """Pages of a project in which nothing has run."""
    yield Shot("empty-runs", f"{ADMIN}run/")
    yield Shot("empty-pipelines", f"{ADMIN}pipelineversion/pipelines/")
    yield Shot("empty-pipeline", f"{ADMIN}pipelineversion/pipeline/?pipeline={CHECKOUT}")
    yield Shot("empty-versions", f"{ADMIN}pipelineversion/")
    yield Shot("empty-queues", f"{ADMIN}queue/")


def shots_of(world: World) -> Iterator[Shot]:
    """Every page."""
    yield Shot("runs", f"{ADMIN}run/")
    yield Shot("runs-of-error", f"{ADMIN}run/?pipeline={CHECKOUT}&status=failed")
    yield Shot("runs-none", f"{ADMIN}run/?q=nothing")
    for name in ("failed", "good", "busy", "lost", "queued", "drifted", "long", "hostile"):
        run: Run = getattr(world, name)
        act = None if name == "long" else unfold
        yield Shot(f"run-{name}", f"{ADMIN}run/{run.pk}/change/", act)
    yield Shot("run-history", f"{ADMIN}run/{world.failed.pk}/history/")
    yield from _operations(world)
    state = f"{ADMIN}run/state/?run={world.failed.pk}"
    yield Shot("state", state)
    yield Shot("state-beside", f"{state}&at=1&beside=4", unfold)
    yield Shot("state-hostile", f"{ADMIN}run/state/?run={world.hostile.pk}", unfold)
    yield Shot("state-long", f"{ADMIN}run/state/?run={world.long.pk}")
    pair = f"{ADMIN}run/diff/?run={world.failed.pk}&run={world.fork.pk}"
    yield Shot("diff-form", pair)
    yield Shot("diff", pair, compare)
    yield Shot("redrive", f"{ADMIN}run/redrive/?pipeline={CHECKOUT}&status=failed")
    row = Checkpoint.objects.filter(run=world.failed).order_by("-sequence").first()
    assert row is not None
    yield Shot("row", f"{ADMIN}checkpoint/{row.pk}/change/", unfold)
    yield Shot("pipelines", f"{ADMIN}pipelineversion/pipelines/")
    one = f"{ADMIN}pipelineversion/pipeline/?pipeline="
    yield Shot("pipeline", f"{one}{CHECKOUT}")
    yield Shot("pipeline-drifted", f"{one}{world.drifted.pipeline}")
    yield Shot("versions", f"{ADMIN}pipelineversion/")
    version = PipelineVersion.objects.get(pipeline=CHECKOUT)
    yield Shot("version", f"{ADMIN}pipelineversion/{version.pk}/change/")
    yield Shot("queues", f"{ADMIN}queue/")
    yield Shot("queue-pause", f"{ADMIN}queue/resume/?queue=default")
    yield Shot("index", "/admin/")


def documented(world: World) -> Iterator[Shot]:
    """The pages in the documentation."""
    yield Shot("runs", f"{ADMIN}run/?pipeline={CHECKOUT}")
    yield Shot("run-failed", f"{ADMIN}run/{world.failed.pk}/change/")
    yield Shot("fork-preview", f"{ADMIN}run/fork/?run={world.failed.pk}", preview)
    yield Shot("pipeline", f"{ADMIN}pipelineversion/pipeline/?pipeline={CHECKOUT}")


def _operations(world: World) -> Iterator[Shot]:
    failed, several = world.failed, f"run={world.failed.pk}&run={world.good.pk}"
    for name in ("resume", "replay", "fork", "requeue", "prune"):
        yield Shot(name, f"{ADMIN}run/{name}/?run={failed.pk}")
    yield Shot("fork-wrong", f"{ADMIN}run/fork/?run={failed.pk}", fork_badly)
    yield Shot("fork-preview", f"{ADMIN}run/fork/?run={failed.pk}", preview)
    yield Shot("fork-hostile", f"{ADMIN}run/fork/?run={world.hostile.pk}")
    yield Shot("resume-several", f"{ADMIN}run/resume/?{several}")
    yield Shot("prune-several", f"{ADMIN}run/prune/?{several}&run={world.busy.pk}")
    yield Shot("cancel", f"{ADMIN}run/cancel/?run={world.busy.pk}")
    yield Shot("cancel-refused", f"{ADMIN}run/cancel/?run={world.good.pk}")
    yield Shot("resume-drifted", f"{ADMIN}run/resume/?run={world.drifted.pk}")
    yield Shot("replay-drifted", f"{ADMIN}run/replay/?run={world.drifted.pk}")


def unfold(page: Page) -> None:
    """Open what is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")


def compare(page: Page) -> None:
    """Compare, and show all keys."""
    page.fill("[name=reason]", "ticket 4711")
    page.select_option("[name=show]", "all")
    page.click("input.default")


def fork_badly(page: Page) -> None:
    """Leave the reason out, and break a value."""
    page.fill(".fluxio-editor textarea >> nth=0", "{")
    page.click("input.default")


def preview(page: Page) -> None:
    """Change two values, and look at what that changes."""
    page.fill("[name=reason]", "ticket 4711: goodwill")
    page.fill("[name=as_run_id]", "order-goodwill")
    page.fill("[name=patch]", '{"note": "on the house", "subtotal_before": null}')
    page.fill(".fluxio-editor textarea >> nth=1", '{"$decimal": "1.00"}')
    page.click("input.default")
