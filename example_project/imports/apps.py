"""Tells Django about this app."""

from django.apps import AppConfig


class ImportsConfig(AppConfig):
    """The app that imports airports."""

    name = "example_project.imports"
    default_auto_field = "django.db.models.BigAutoField"
