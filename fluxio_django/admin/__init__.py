"""Runs, rows, versions and queues in Django's admin: people look here, and act with care."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio.lazily import names_of
from fluxio_django.admin.checkpoints import CheckpointAdmin
from fluxio_django.admin.queues import QueueAdmin
from fluxio_django.admin.runs import RunAdmin
from fluxio_django.admin.versions import PipelineVersionAdmin

if TYPE_CHECKING:
    from fluxio_django.admin.inline import RunsInline

__all__ = ["CheckpointAdmin", "PipelineVersionAdmin", "QueueAdmin", "RunAdmin", "RunsInline"]

# Loaded at first use: it is for the admins of a project, and not every project has one for it.
__getattr__, __dir__ = names_of(__name__, {"fluxio_django.admin.inline": ("RunsInline",)})
