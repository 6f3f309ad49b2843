"""A Django project that uses fluxio_django: an import that survives kill -9, and a shop."""

import os

if os.environ.get("CELERY_BROKER_URL"):
    # Whoever enqueues a run has to know the broker, and not only the workers.
    from example_project.celery import app as celery_app

    __all__ = ["celery_app"]
