"""The settings of the Celery workers that take part in a benchmark; see `benchmarks.celery_app`."""

import os

from benchmarks.project import postgresql_settings, project_settings

_database = postgresql_settings(os.environ["FLUXIO_BENCH_DATABASE"])
# As the deployment guide has it: a worker keeps its connection from one run to the next.
_database |= {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}

globals().update(project_settings({"default": _database}))
LOGGING_CONFIG = None
