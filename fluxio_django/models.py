"""The tables: pipelines' versions, runs, and the rows of their logs."""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fluxio_django.enums import RowKind, RunStatus
from fluxio_django.fields import ExactCharField
from fluxio_django.querysets import CheckpointQuerySet, RunQuerySet, VersionQuerySet


class PipelineVersion(models.Model):
    """A version of a pipeline that has run here, and what it consisted of.

    `manifest` is JSON: a list of `[step key, kind, digest]` in program order.
    """

    pipeline = ExactCharField(_("pipeline"), max_length=200)
    version = ExactCharField(_("version"), max_length=64)
    manifest = models.TextField(_("manifest"))
    first_seen = models.DateTimeField(_("first seen"), default=timezone.now, editable=False)

    objects = VersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("pipeline version")
        verbose_name_plural = _("pipeline versions")
        ordering = ["pipeline", "-first_seen", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "version"], name="fluxio_version_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline} @ {self.version}"


class Run(models.Model):
    """One execution of a pipeline: the authority on its status, its owner and its log.

    The fields are those of `fluxio.store.base.RunRecord`, where "" stands for None in texts, and
    what only a project knows: who asked for the run, and what it is about. Rows change by the
    conditional updates of `RunQuerySet` alone.

    `requested_by` and `subject_type` carry no constraint in the database, so that these tables may
    live in another one than users do.
    """

    run_id = ExactCharField(_("run id"), max_length=128, unique=True)
    pipeline = ExactCharField(_("pipeline"), max_length=200)
    version = ExactCharField(_("version"), max_length=64)
    status = ExactCharField(
        _("status"), max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED
    )
    attempt = models.IntegerField(_("attempt"), default=1)
    head = models.IntegerField(_("newest row"), default=0)
    ip = models.IntegerField(_("instruction pointer"), default=0)
    step = models.TextField(_("step"), blank=True, default="")
    token = models.BigIntegerField(_("fencing token"), default=0)
    owner = ExactCharField(_("owner"), max_length=255, blank=True, default="")
    lease_expires_at = models.DateTimeField(_("lease expires"), null=True, blank=True)
    takeovers = models.IntegerField(_("takeovers"), default=0)
    parent = ExactCharField(_("forked from"), max_length=128, blank=True, default="")
    parent_sequence = models.IntegerField(_("forked at row"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("requested by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
    )
    subject_type = models.ForeignKey(
        ContentType,
        verbose_name=_("type of subject"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        db_index=False,  # the index by subject below begins with it
        related_name="+",
    )
    subject_id = ExactCharField(_("id of subject"), max_length=255, blank=True, default="")
    subject = GenericForeignKey("subject_type", "subject_id")
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-created_at", "-id"]
        # What changes at every checkpoint (head, lease, updated_at) is in no index: PostgreSQL then
        # rewrites the row in place. Expired leases are sought among the few rows that are running.
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="fluxio_run_newest"),
            models.Index(fields=["status", "-created_at", "-id"], name="fluxio_run_by_status"),
            models.Index(
                fields=["pipeline", "status", "-created_at", "-id"], name="fluxio_run_by_pipeline"
            ),
            models.Index(fields=["subject_type", "subject_id"], name="fluxio_run_by_subject"),
            models.Index(fields=["parent"], name="fluxio_run_by_parent"),
        ]
        permissions = [
            ("resume_run", "Can resume a run"),
            ("replay_run", "Can replay a run"),
            ("fork_run", "Can fork a run"),
            ("cancel_run", "Can cancel a run"),
            ("diff_run", "Can compare runs"),
            ("view_context", "Can see the values in a run's context"),
            ("force_version", "Can go on with a run under another version"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} ({self.pipeline})"


class Checkpoint(models.Model):
    """One row of a run's log; the fields are those of `fluxio.store.base.Row`. Never changed."""

    run = models.ForeignKey(
        Run,
        verbose_name=_("run"),
        on_delete=models.CASCADE,
        related_name="checkpoints",
        db_index=False,  # the unique constraint below begins with it
    )
    sequence = models.IntegerField(_("sequence"))
    attempt = models.IntegerField(_("attempt"))
    kind = ExactCharField(_("kind"), max_length=16, choices=RowKind.choices)
    step = models.TextField(_("step"), blank=True)
    ip = models.IntegerField(_("instruction pointer"))
    branch = models.TextField(_("branch"), blank=True)
    background = models.BooleanField(_("background"), default=False)
    version = ExactCharField(_("version"), max_length=64)
    full = models.BooleanField(_("whole state"), default=False)
    payload = models.TextField(_("payload"))
    digest = ExactCharField(_("digest"), max_length=200)
    size = models.IntegerField(_("size in bytes"))
    duration = models.FloatField(_("duration in seconds"), default=0.0)
    tries = models.IntegerField(_("tries"), default=0)
    created_at = models.DateTimeField(_("created"), editable=False)

    objects = CheckpointQuerySet.as_manager()

    class Meta:
        verbose_name = _("checkpoint")
        verbose_name_plural = _("checkpoints")
        ordering = ["run_id", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["run", "sequence"], name="fluxio_checkpoint_sequence"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.sequence} {self.kind} {self.step}".rstrip()
