"""What customers can say."""

from typing import Any

from django import forms

from example_project.orders.models import Order, Product


class OrderForm(forms.ModelForm):
    """A new order."""

    class Meta:
        model = Order
        fields = [
            "product",
            "quantity",
            "email",
            "country",
            "express",
            "card",
        ]

    def clean(self) -> dict[str, Any]:
        """Refuse at once what cannot be delivered; the checkout looks again."""
        values = super().clean() or {}
        product, quantity = values.get("product"), values.get("quantity")
        if isinstance(product, Product) and quantity is not None and quantity > product.stock:
            self.add_error("quantity", f"Only {product.stock} of these are left.")
        return values


class CardForm(forms.ModelForm):
    """Another card for an order whose first one was declined."""

    class Meta:
        model = Order
        fields = ["card"]
