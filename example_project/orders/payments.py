"""A pretend payment provider. Like a real one it takes money once for each idempotency key."""

from decimal import Decimal

from django.db.models import F

from example_project.orders.models import Card, Payment


class CardDeclinedError(Exception):
    """The customer's bank says no."""


def take_money(*, key: str, reference: str, amount: Decimal, card: str) -> Payment:
    """Take an amount, or find that it was taken already under this key.

    Raises:
        CardDeclinedError: nothing was taken.
    """
    if card == Card.DECLINED:
        raise CardDeclinedError(
            f"The card for {reference} was declined. Give the order another card, "
            "then resume its run."
        )
    payment, is_new = Payment.objects.get_or_create(
        idempotency_key=key, defaults={"reference": reference, "amount": amount}
    )
    if not is_new:
        Payment.objects.filter(pk=payment.pk).update(requests=F("requests") + 1)
    return payment
