"""The project as a Celery application: `celery -A example_project worker`, if Celery is there."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")


def schedule_sweeps(sender: Any, **_: object) -> None:
    """Have beat ask for a sweep now and then: `celery -A example_project beat`."""
    from fluxio_django.tasks import beat_schedule

    sender.conf.beat_schedule |= beat_schedule()


try:
    from celery import Celery
except ImportError:  # The demo needs no broker.
    app = None
else:
    app = Celery("example_project")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
    app.on_after_finalize.connect(schedule_sweeps)
