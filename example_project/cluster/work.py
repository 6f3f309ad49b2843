"""What the cluster has to do: orders and small imports, enqueued together with their rows."""

import csv
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path

from django.db import transaction

from example_project.imports.files import COLUMNS, installed_file
from example_project.orders.models import Country, Order, Product
from fluxio_django import pipelines

ROWS = 25
"""Rows of one import."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """So many orders and so many imports; `folder` takes the files of the imports."""

    orders: int
    imports: int
    folder: Path

    def prepare(self) -> Product:
        """Put enough on the shelf, and write the files."""
        with installed_file().open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            for number in range(self.imports):
                with self.file(number).open("w", encoding="utf-8", newline="") as part:
                    writer = csv.DictWriter(part, COLUMNS, extrasaction="ignore")
                    writer.writeheader()
                    writer.writerows(islice(rows, ROWS))
        return Product.objects.create(
            name="Windsock", price=Decimal("34.50"), stock=self.orders * 3
        )

    def file(self, number: int) -> Path:
        """The file of an import."""
        return self.folder / f"airports-{number}.csv"

    def enqueue(self, number: int, product: Product) -> None:
        """Enqueue the order and the import of this number, as far as there are so many."""
        if number < self.orders:
            with transaction.atomic():
                order = Order.objects.create(
                    product=product,
                    quantity=1 + number % 3,
                    email="amelia@example.com",
                    country=Country.FR,
                    express=number % 5 == 0,
                )
                checkout = pipelines["orders.checkout"]
                checkout.enqueue_sync({"order_id": order.pk}, order.run_id, subject=order)
        if number < self.imports:
            path = str(self.file(number))
            pipelines["imports.airports"].enqueue_sync({"path": path}, f"import-{number}")
