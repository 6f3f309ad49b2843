"""Tells Django about this app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The app that shows the other two."""

    name = "example_project.demo"
