"""Every page of the admin, over runs that are as hostile as values can be."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from fluxio.store.base import Row, RowKind
from fluxio.store.payload import Body, RowFacts, encode_body, seal_row
from fluxio_django import services
from fluxio_django.models import Checkpoint, PipelineVersion, Run
from tests.app.admin.shop import CHECKOUT, Shop

LIST = "/admin/fluxio_django/run/"
QUEUES = "/admin/fluxio_django/queue/"
ROWS = "/admin/fluxio_django/checkpoint/"
VERSIONS = "/admin/fluxio_django/pipelineversion/"

HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>"
    "<a href=javascript:alert(4)>x</a><style>*{display:none}</style>\u202e{{ 7*7 }}"
)
IDENTITY = "<script>alert(1)</script>\"'<img/src=x/onerror=alert(2)>"

LIVE = (
    "document.querySelectorAll('img[src=x], svg[onload], #content a[href^=javascript], '"
    "  + '#content style, #content script:not([src])').length"
)
"""How much of that came to life in a page."""


def page_of(run: Run) -> str:
    """The address of a run's page."""
    return f"{LIST}{run.pk}/change/"


def hostile_run(shop: Shop) -> Run:
    """A failed run whose every text is hostile, beside a harmless one and one that is under way."""
    alias = services.database()
    shop.buy("harmless")
    shop.message = HOSTILE
    values = {HOSTILE: HOSTILE, "nested": [{HOSTILE: (HOSTILE,)}], "long": HOSTILE * 20}
    run = shop.fail(IDENTITY, **values)
    runs = Run.objects.using(alias)
    person = User.objects.create_user(HOSTILE[:150])
    texts = {"step": HOSTILE, "owner": HOSTILE[:200], "subject_id": HOSTILE[:200]}
    runs.filter(pk=run.pk).update(**texts, requested_by=person.pk, error_type=HOSTILE[:200])
    runs.create(
        run_id=f"{IDENTITY}2",
        pipeline=HOSTILE[:200],
        version=HOSTILE[:64],
        status="running",
        owner="elsewhere:1::",
        lease_expires_at=timezone.now() + timedelta(hours=1),
        step=HOSTILE,
        parent=IDENTITY,
        queue=HOSTILE[:100],
        held_back=HOSTILE[:500],
        cancel_requested_at=timezone.now(),
        cancel_reason=HOSTILE[:500],
        progress_done=3,
        progress_total=12,
        progress_note=HOSTILE[:200],
        progress_at=timezone.now() + timedelta(hours=1),
    )
    PipelineVersion.objects.using(alias).create(
        pipeline=HOSTILE[:200], version=HOSTILE[:64], manifest=HOSTILE
    )
    services.pause_queue("default", HOSTILE[:200])
    return run


def every_page(run: Run) -> dict[str, str]:
    """The addresses of all pages about a run, by what they are."""
    alias = services.database()
    runs, versions = Run.objects.using(alias), PipelineVersion.objects.using(alias)
    rows = Checkpoint.objects.using(alias).filter(run=run.pk).order_by("sequence")
    other = runs.get(run_id="harmless")
    busy = runs.get(run_id=f"{IDENTITY}2")
    return {
        "list": LIST,
        "failed": f"{LIST}?pipeline={CHECKOUT}&status=failed",
        "nothing": f"{LIST}?q=nothing",
        "run": page_of(run),
        "succeeded": page_of(other),
        "busy": page_of(busy),
        "history": f"{LIST}{run.pk}/history/",
        **{
            name: f"{LIST}{name}/?run={run.pk}"
            for name in ("resume", "replay", "fork", "requeue", "prune", "diff", "state")
        },
        "cancel": f"{LIST}cancel/?run={busy.pk}",
        "several": f"{LIST}replay/?run={run.pk}&run={other.pk}",
        "refused": f"{LIST}resume/?run={other.pk}",
        "beside": f"{LIST}state/?run={run.pk}&at=0&beside=1",
        "redrive": f"{LIST}redrive/?pipeline={CHECKOUT}&status=failed",
        **{
            f"row {row.sequence}": f"/admin/fluxio_django/checkpoint/{row.pk}/change/"
            for row in rows
        },
        "queues": QUEUES,
        "queue": f"{QUEUES}resume/?queue=default",
        "pipelines": f"{VERSIONS}pipelines/",
        "pipeline": f"{VERSIONS}pipeline/?pipeline={CHECKOUT}",
        "versions": VERSIONS,
        **{f"version {each.pk}": f"{VERSIONS}{each.pk}/change/" for each in versions.all()},
    }


def lengthen(run: Run, steps: int) -> None:
    """Give a run a log of so many steps, as if it had executed them."""
    alias = services.database()
    rows = Checkpoint.objects.using(alias).filter(run=run.pk)
    last = rows.order_by("-sequence")[0]
    first = last.sequence + 1
    rows.bulk_create(
        _recorded(run, _step(run, sequence, last.ip)) for sequence in range(first, steps + 1)
    )
    Run.objects.using(alias).filter(pk=run.pk).update(head=steps)
    run.refresh_from_db(using=alias)


def _step(run: Run, sequence: int, ip: int) -> Row:
    facts = RowFacts(
        run_id=run.run_id,
        sequence=sequence,
        attempt=run.attempt,
        kind=RowKind.STEP,
        ip=ip,
        version=run.version,
        full=False,
        created_at=run.created_at + timedelta(milliseconds=sequence),
        step=f"step{sequence}",
        tries=1,
        duration=0.001,
    )
    return seal_row(facts, encode_body(Body(writes={f"key{sequence % 50}": sequence})))


def _recorded(run: Run, row: Row) -> Checkpoint:
    return Checkpoint(
        run_id=run.pk,
        sequence=row.sequence,
        attempt=row.attempt,
        kind=row.kind.value,
        step=row.step,
        ip=row.ip,
        version=row.version,
        full=row.full,
        payload=row.payload,
        digest=row.digest,
        size=len(row.payload),
        duration=row.duration,
        tries=row.tries,
        created_at=row.created_at,
    )
