"""The test project as a real server runs it: all on PostgreSQL, with a pipeline that is open."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

POSTGRES = DATABASES["postgres"]
if os.environ.get("SERVED_AS") == "asgi":
    # Under ASGI each request in flight has a thread, and so a connection, of its own: more than
    # PostgreSQL has, when many come at once. A pool has them wait for each other.
    POSTGRES["OPTIONS"] = {
        "pool": {"min_size": 0, "max_size": 20, "timeout": 60, "max_waiting": 0, "max_idle": 1}
    }

DATABASES = {"default": POSTGRES, "postgres": POSTGRES}

FLUXIO = {
    "DISPATCHER": "inline",
    "VIEWS": {"views.checkout": {"START": "signed-in", "SHOWS": ["total"]}},
    "START_RATE": "1000000/s",
    "STREAMS_PER_USER": 2_000,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "ERROR"},
}
