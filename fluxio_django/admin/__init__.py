"""Runs, rows, versions and queues in Django's admin: people look here, and act with care."""

from __future__ import annotations

from fluxio_django.admin.checkpoints import CheckpointAdmin
from fluxio_django.admin.inline import RunsInline
from fluxio_django.admin.queues import QueueAdmin
from fluxio_django.admin.runs import RunAdmin
from fluxio_django.admin.versions import PipelineVersionAdmin

__all__ = ["CheckpointAdmin", "PipelineVersionAdmin", "QueueAdmin", "RunAdmin", "RunsInline"]
