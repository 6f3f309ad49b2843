"""The closed sets of the core, with the labels that Django shows people."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class RunStatus(models.TextChoices):
    """Where a run is in its life; the values are those of `fluxio.types.RunStatus`."""

    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    DEAD = "dead", _("dead")


class RowKind(models.TextChoices):
    """What a row of a run's log stands for; the values are those of `fluxio.store.base.RowKind`."""

    START = "start", _("start")
    STEP = "step", _("step")
    ERROR = "error", _("error")
    END = "end", _("end")
