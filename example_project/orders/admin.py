"""The shop in the admin."""

from django.contrib import admin

from example_project.orders.models import Order, Payment, Product, StockMovement


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """What is sold."""

    list_display = ["name", "price", "stock"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """What was ordered; a declined card can be changed here."""

    list_display = ["pk", "product", "quantity", "email", "handling", "total", "paid_at"]
    list_filter = ["handling", "card"]
    readonly_fields = ["handling", "total", "paid_at", "run_id"]


@admin.register(StockMovement)
class StockMovementAdmin(admin.ModelAdmin):
    """What left the shelf."""

    list_display = ["product", "order", "quantity", "moved_at"]


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):
    """What the pretend provider took."""

    list_display = ["reference", "amount", "requests", "taken_at"]
