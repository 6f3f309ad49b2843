"""The Django project of the workers under proof; the environment says where everything is."""

import json
import os

from tests.needs import connection_settings

_URL = os.environ["FLUXIO_CLUSTER_DATABASE"]
_ENGINE = "mysql" if _URL.startswith("mysql") else "postgresql"

SECRET_KEY = "for tests only, and known to everybody"
DATABASES = {
    "default": {
        **connection_settings(_URL),
        "ENGINE": f"django.db.backends.{_ENGINE}",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "fluxio_django",
    "tests.durability.cluster",
]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None

FLUXIO = json.loads(os.environ["FLUXIO_CLUSTER_FLUXIO"])

CELERY_BROKER_URL = os.environ["FLUXIO_CLUSTER_BROKER"]
CELERY_RESULT_BACKEND = os.environ.get("FLUXIO_CLUSTER_RESULTS")
CELERY_TASK_DEFAULT_QUEUE = os.environ["FLUXIO_CLUSTER_QUEUE"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_DB_REUSE_MAX = 1000
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_TASK_SEND_SENT_EVENT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 5}
