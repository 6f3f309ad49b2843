"""The project as a Celery application: `celery -A example_project worker`, if Celery is there."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

try:
    from celery import Celery
except ImportError:  # The demo needs no broker.
    app = None
else:
    app = Celery("example_project")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
