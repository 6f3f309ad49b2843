"""The Celery application of the workers under proof."""

import os

from celery import Celery

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.durability.cluster.settings"

app = Celery("fluxio-cluster")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
