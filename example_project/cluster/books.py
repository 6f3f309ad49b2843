"""Counts what the runs have left in the tables, without asking the runs."""

from django.db.models import Count, Sum

from example_project.cluster.work import ROWS, Work
from example_project.imports.models import LedgerEntry, RejectedRow
from example_project.orders.models import Order, Payment, Product, StockMovement
from fluxio_django.models import Run


def faults(work: Work, product: Product) -> list[str]:
    """What is wrong with the books; nothing, if all is well."""
    found = [*_faults_of_orders(work, product), *_faults_of_imports(work)]
    for status, number in _endings().items():
        if status != "succeeded":
            found.append(f"{number} runs are {status}")
    return found


def entries(work: Work) -> str:
    """What the books say, in one line."""
    asked = Payment.objects.aggregate(asked=Sum("requests"))["asked"] or 0
    return (
        f"{Order.objects.count()} orders, {Payment.objects.count()} payments (asked for {asked} "
        f"times), {StockMovement.objects.count()} movements of goods; {work.imports} imports, "
        f"{LedgerEntry.objects.count():,} rows written"
    )


def _endings() -> dict[str, int]:
    return dict(Run.objects.order_by().values_list("status").annotate(Count("pk")))


def _faults_of_orders(work: Work, product: Product) -> list[str]:
    found = []
    product.refresh_from_db()
    wanted = Order.objects.aggregate(all=Sum("quantity"))["all"] or 0
    if product.stock != work.orders * 3 - wanted:
        found.append(f"{product.stock} pieces are left of {work.orders * 3}, {wanted} were ordered")
    for what, rows in (
        ("paid", Payment.objects.values_list("reference", flat=True)),
        ("taken from the shelf", StockMovement.objects.values_list("order__pk", flat=True)),
    ):
        listed = list(rows)
        if (len(listed), len(set(listed))) != (work.orders, work.orders):
            found.append(
                f"{what}: {len(listed)} times for {len(set(listed))} of {work.orders} orders"
            )
    return found


def _faults_of_imports(work: Work) -> list[str]:
    written = LedgerEntry.objects.count()
    lines = LedgerEntry.objects.order_by().values("run_id", "airport_id").distinct().count()
    due = work.imports * ROWS - RejectedRow.objects.count()
    if (written, lines) == (due, due):
        return []
    return [f"{written:,} rows were written, {lines:,} different ones, of {due:,}"]
