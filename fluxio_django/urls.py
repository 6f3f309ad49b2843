"""The JSON API, to be included: `path("fluxio/", include("fluxio_django.urls"))`.

Closed until FLUXIO["VIEWS"] names a pipeline; the health view, until FLUXIO["HEALTH_TOKEN"] is set.
"""

from __future__ import annotations

from django.urls import path, register_converter

from fluxio_django.views import api, description, events, health
from fluxio_django.views.addresses import RunIDConverter

register_converter(RunIDConverter, "fluxio_run")

app_name = "fluxio"

urlpatterns = [
    path("health/", health.Health.as_view(), name="health"),
    path("openapi.json", description.OpenAPI.as_view(), name="openapi"),
    path("pipelines/", api.Pipelines.as_view(), name="pipelines"),
    path("runs/", api.Runs.as_view(), name="runs"),
    path("runs/<fluxio_run:run_id>/", api.Status.as_view(), name="run"),
    path("runs/<fluxio_run:run_id>/history/", api.History.as_view(), name="history"),
    path("runs/<fluxio_run:run_id>/result/", api.Result.as_view(), name="result"),
    path("runs/<fluxio_run:run_id>/events/", events.Events.as_view(), name="events"),
    path("runs/<fluxio_run:run_id>/cancel/", api.Cancel.as_view(), name="cancel"),
    path("runs/<fluxio_run:run_id>/resume/", api.Resume.as_view(), name="resume"),
    path(
        "runs/<fluxio_run:run_id>/diff/<fluxio_run:other_id>/",
        api.Difference.as_view(),
        name="diff",
    ),
]
