"""The shop's tables, and the one that stands for a payment provider."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse


class Product(models.Model):
    """Something that is sold as long as there is stock."""

    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=200, blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Card(models.TextChoices):
    """What the customer pays with; this shop has never seen a real card number."""

    GOOD = "good", "a card that works"
    DECLINED = "declined", "a card that is declined"


class Country(models.TextChoices):
    """Where the shop delivers."""

    AT = "AT", "Austria"
    CH = "CH", "Switzerland"
    DE = "DE", "Germany"
    FR = "FR", "France"


class Order(models.Model):
    """What a customer wants; the checkout fills in the lower half."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    email = models.EmailField()
    country = models.CharField(max_length=2, choices=Country.choices, default=Country.DE)
    express = models.BooleanField(default=False)
    card = models.CharField(max_length=10, choices=Card.choices, default=Card.GOOD)
    placed_at = models.DateTimeField(auto_now_add=True)

    handling = models.CharField(max_length=20, blank=True, editable=False)
    total = models.DecimalField(max_digits=10, decimal_places=2, null=True, editable=False)
    paid_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-placed_at", "-pk"]

    def __str__(self) -> str:
        return f"order {self.pk}: {self.quantity} x {self.product}"

    def get_absolute_url(self) -> str:
        """The page of this order."""
        return reverse("orders:order", args=[self.pk])

    @property
    def run_id(self) -> str:
        """The run of the checkout: there is one for each order, however often it is asked for."""
        return f"order-{self.pk}"

    @property
    def subtotal(self) -> Decimal:
        """The price of the goods alone."""
        return self.product.price * self.quantity


class StockMovement(models.Model):
    """Goods that left the shelf for an order; entries are only ever added."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="movements")
    quantity = models.IntegerField(help_text="Negative for what was taken.")
    moved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.quantity:+} {self.product} for order {self.order_id}"


class Payment(models.Model):
    """Money taken by the pretend payment provider; in life this table is somebody else's."""

    idempotency_key = models.CharField(max_length=64, unique=True)
    reference = models.CharField(max_length=64)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    requests = models.PositiveIntegerField(
        default=1, help_text="How often it was asked for; it was taken once."
    )
    taken_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-taken_at"]

    def __str__(self) -> str:
        return f"{self.amount} for {self.reference}"
