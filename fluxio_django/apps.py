"""The app's entry in INSTALLED_APPS: what happens once while Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from fluxio.surroundings import set_up_at_first_use
from fluxio_django import registry
from fluxio_django.checks import register_checks


class FluxioConfig(AppConfig):
    """Durable pipelines for Django."""

    name = "fluxio_django"
    verbose_name = _("Pipelines")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and find the pipelines of all apps; the runtime comes when used."""
        set_up_at_first_use(set_up_runtime)
        register_checks()
        registry.autodiscover()


def set_up_runtime() -> None:
    """Give the runtime Django's ports and models, and dispatchers what executes runs."""
    from fluxio.runtime.environment import set_default_environment
    from fluxio_django.dispatch import execute_with
    from fluxio_django.environment import django_environment
    from fluxio_django.references import advise_on_lazy_objects, register_models
    from fluxio_django.runner import execute

    set_default_environment(django_environment())
    register_models()
    advise_on_lazy_objects()
    execute_with(execute)
