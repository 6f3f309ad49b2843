"""The app's entry in INSTALLED_APPS: what happens once while Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from fluxio.runtime.environment import set_default_environment
from fluxio_django import registry
from fluxio_django.checks import register_checks
from fluxio_django.dispatch import execute_with
from fluxio_django.environment import django_environment
from fluxio_django.journal import forget_noted_versions
from fluxio_django.references import register_models
from fluxio_django.runner import execute


class FluxioConfig(AppConfig):
    """Durable pipelines for Django."""

    name = "fluxio_django"
    verbose_name = _("Pipelines")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Give the runtime Django's ports and models, then find the pipelines of all apps."""
        set_default_environment(django_environment())
        register_models()
        execute_with(execute)
        register_checks()
        post_migrate.connect(forget_noted_versions, dispatch_uid="fluxio_django.versions")
        registry.autodiscover()
