"""The runs that the pictures show: of a shop on a busy day, and one that means harm."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from example_project.demo.goods import fill_the_shop
from example_project.orders.models import Card, Country, Order, Product
from example_project.orders.payments import CardDeclinedError
from example_project.orders.pipelines import OutOfStockError
from fluxio import Context, Pipeline, stage
from fluxio.runtime.runs import ForkOrder
from fluxio_django import pipelines, register, services
from fluxio_django.deeds import Deed
from fluxio_django.models import Checkpoint, PipelineVersion, Run

CHECKOUT, REPORT = "orders.checkout", "reports.monthly"
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{ 7*7 }}"

_ORDERS = 60


@dataclass(frozen=True)
class World:
    """Runs by what they are good for."""

    failed: Run
    good: Run
    fork: Run
    busy: Run
    lost: Run
    queued: Run
    drifted: Run
    long: Run
    hostile: Run


def empty() -> User:
    """A superuser, and nothing else."""
    return User.objects.create_superuser("ada", password="x")


def full(user: User, *, with_harm: bool = True) -> World:
    """A shop whose runs have come to every end there is, and one that means harm."""
    fill_the_shop()
    Product.objects.update(stock=80)
    _report("1")
    for _number in range(_ORDERS):
        _buy()
    _spread_out()
    failed = Run.objects.filter(status="failed", error_type="CardDeclinedError").first()
    good = Run.objects.filter(status="succeeded").first()
    assert failed is not None
    assert good is not None
    fork = _fork(failed)
    _note(user, failed)
    pipelines[REPORT].invoke_sync({"month": "2026-10"}, run_id="report-2026-10")
    drifted = _of("report-2026-10")
    Run.objects.filter(pk=drifted.pk).update(status="failed", step="render", error="IOError: full")
    _report("2")
    return World(
        failed=failed,
        good=good,
        fork=fork,
        busy=_busy("order-busy", hours=1),
        lost=_busy("order-lost", hours=-1),
        queued=_queued(),
        drifted=Run.objects.get(pk=drifted.pk),
        long=_long(),
        hostile=_hostile() if with_harm else failed,
    )


def _of(run_id: str) -> Run:
    return services.find_run(run_id)


def _buy() -> None:
    random = Random(Order.objects.count())
    product = random.choice(list(Product.objects.order_by("pk")))
    order = Order.objects.create(
        product=product,
        quantity=random.choice((1, 1, 2, 12)),
        express=random.random() < 0.3,
        card=Card.DECLINED if random.random() < 0.12 else Card.GOOD,
        country=random.choice(Country.values),
        email="amelia@example.com",
    )
    with suppress(CardDeclinedError, OutOfStockError):
        pipelines[CHECKOUT].invoke_sync({"order_id": order.pk}, run_id=order.run_id, subject=order)


def _spread_out() -> None:
    """Give runs and steps the durations of a shop whose bank is far away."""
    random = Random(7)
    usual = {"charge": 0.4, "check_fraud": 0.08, "notify": 0.15}
    now = timezone.now()
    for number, run in enumerate(Run.objects.order_by("-pk")):
        begun = now - timedelta(minutes=11 * number + random.randrange(9))
        taken = 0.0
        for row in Checkpoint.objects.filter(run=run).exclude(step="").order_by("sequence"):
            name = row.step.rpartition("/")[2]
            seconds = usual.get(name, 0.01) * random.lognormvariate(0, 0.6)
            taken += seconds
            moment = begun + timedelta(seconds=taken)
            Checkpoint.objects.filter(pk=row.pk).update(duration=seconds, created_at=moment)
        ended = begun + timedelta(seconds=taken)
        Run.objects.filter(pk=run.pk).update(
            created_at=begun, started_at=begun, finished_at=ended, updated_at=ended
        )


def _fork(run: Run) -> Run:
    order = ForkOrder(
        run_id=run.run_id,
        from_step="book_parcel",
        as_run_id=f"{run.run_id}-goodwill",
        patch={"subtotal": Decimal("1.00"), "note": "on the house"},
    )
    steps = set(Checkpoint.objects.filter(run=run).values_list("step", flat=True))
    if "book_parcel" not in " ".join(steps):
        order = ForkOrder(run_id=order.run_id, as_run_id=order.as_run_id, patch=order.patch)
    with suppress(CardDeclinedError, KeyError):
        services.fork(order)
    return _of(f"{run.run_id}-goodwill")


def _note(user: User, run: Run) -> None:
    deed = Deed(summary="Resume", reason="ticket 4711: the bank was down", number="0" * 32)
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Run),
        object_id=str(run.pk),
        object_repr=str(run),
        action_flag=CHANGE,
        change_message=f"{deed.summary} [{deed.number}] from 192.0.2.7: {deed.reason}",
    )


def _report(version: str) -> None:
    @stage(version="1")
    def collect(ctx: Context) -> Context:
        return ctx.set("lines", [{"order": 7, "total": Decimal("12.50")}])

    @stage(version=version)
    def render(ctx: Context) -> Context:
        return ctx.set("pages", 3)

    if REPORT in pipelines:
        pipelines.remove(REPORT)
    register(REPORT, Pipeline([collect, render], durable=True))


def _busy(run_id: str, *, hours: int) -> Run:
    """A run that somebody executes, or that lost its worker where `hours` are negative."""
    run = _copy(run_id)
    now = timezone.now()
    Run.objects.filter(pk=run.pk).update(
        status="running",
        owner="worker-3:4711:a1b2:c3",
        lease_expires_at=now + timedelta(hours=hours),
        finished_at=None,
        started_at=now - timedelta(minutes=3),
        created_at=now - timedelta(minutes=4),
        updated_at=now,
        step="charge",
        progress_done=340,
        progress_total=1_200,
        progress_note="parcels",
        progress_at=now,
    )
    return Run.objects.get(pk=run.pk)


def _copy(run_id: str) -> Run:
    """A run that came to the charge, and no further."""
    source = Run.objects.filter(status="failed", error_type="CardDeclinedError").first()
    assert source is not None
    rows = list(Checkpoint.objects.filter(run=source).exclude(kind="error").order_by("sequence"))
    order = ForkOrder(run_id=source.run_id, as_run_id=run_id)
    with suppress(CardDeclinedError):
        services.fork(order)
    assert rows
    run = _of(run_id)
    Checkpoint.objects.filter(run=run, kind="error").delete()
    Run.objects.filter(pk=run.pk).update(error="", error_type="", head=run.head - 1, parent="")
    return _of(run_id)


def _queued() -> Run:
    services.pause_queue("default", "the bank is down until noon")
    for number in range(3):
        pipelines[CHECKOUT].enqueue_sync({"order_id": 1}, f"order-queued-{number}")
    now = timezone.now()
    Run.objects.filter(run_id="order-queued-0").update(created_at=now - timedelta(minutes=50))
    Run.objects.filter(run_id="order-queued-2").update(status="dead", takeovers=5, step="charge")
    return _of("order-queued-1")


def _long() -> Run:
    """A run with many rows and large values."""

    def step(number: int) -> object:
        @stage(name=f"page_{number}", version="1")
        def read(ctx: Context) -> Context:
            return ctx.set(f"page_{number}", {"text": "lorem ipsum " * 200, "number": number})

        return read

    name = "imports.long"
    register(name, Pipeline([step(number) for number in range(120)], durable=True))
    pipelines[name].invoke_sync({"source": "scans"}, run_id="import-1")
    return _of("import-1")


def _hostile() -> Run:
    @stage(name="innocent", version="1")
    def innocent(ctx: Context) -> Context:
        raise RuntimeError(HOSTILE * 5)

    name = "imports.hostile"
    register(name, Pipeline([innocent], durable=True))
    values = {HOSTILE: HOSTILE, "nested": [{HOSTILE: (HOSTILE,)}], "long": HOSTILE * 20}
    identity = "<script>alert(1)</script>\"'<img/src=x/onerror=alert(2)>" + "x" * 60
    with suppress(RuntimeError):
        pipelines[name].invoke_sync(values, run_id=identity)
    run = _of(identity)
    Run.objects.filter(pk=run.pk).update(owner=HOSTILE, subject_id=HOSTILE)
    PipelineVersion.objects.create(pipeline=HOSTILE[:40], version="x", manifest="[")
    return Run.objects.get(pk=run.pk)
