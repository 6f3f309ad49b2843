"""Tells Django about this app."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """The app that sells things."""

    name = "example_project.orders"
    default_auto_field = "django.db.models.BigAutoField"
