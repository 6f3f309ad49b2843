"""The tables: pipelines' versions, runs, the rows of their logs, and what queued runs wait at."""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fluxio_django.enums import RowKind, RunStatus
from fluxio_django.fields import ExactCharField
from fluxio_django.links import set_null_beside_runs
from fluxio_django.subject_key import SubjectKey


class PipelineVersion(models.Model):
    """A version of a pipeline that has run here, and what it consisted of.

    `manifest` is JSON: a list of `[step key, kind, digest]` in program order.
    """

    pipeline = ExactCharField(_("pipeline"), max_length=200)
    version = ExactCharField(_("version"), max_length=64)
    manifest = models.TextField(_("manifest"))
    first_seen = models.DateTimeField(_("first seen"), default=timezone.now, editable=False)

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
    conditional updates of `RunQuerySet` alone, which `Tables` gives.

    `requested_by` and `subject_type` carry no constraint in the database, so that these tables may
    live in another one than users do.

    A queued run may be claimed from `available_at` on, those of a higher `priority` first. The
    sweep hands it to a dispatcher when `due_at` has passed, and has done so `dispatches` times.
    `held_back` says why a worker that got it left it where it was, which may be one whose own
    worker is gone. `cancel_requested_at` is set when somebody wants a running run to end, which it
    notices a little later. The `progress_` fields are what a stage said last; they are worth
    nothing once they are older than `updated_at`.
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
    error_type = ExactCharField(
        _("type of error"), max_length=200, blank=True, default="", db_default=""
    )
    queue = ExactCharField(_("queue"), max_length=100, default="default", db_default="default")
    priority = models.SmallIntegerField(_("priority"), default=0, db_default=0)
    available_at = models.DateTimeField(_("available"), null=True, blank=True)
    due_at = models.DateTimeField(_("due to be dispatched"), null=True, blank=True)
    dispatches = models.SmallIntegerField(_("dispatches"), default=0, db_default=0)
    held_back = models.CharField(
        _("held back"), max_length=500, blank=True, default="", db_default=""
    )
    cancel_requested_at = models.DateTimeField(_("cancellation requested"), null=True, blank=True)
    cancel_reason = models.CharField(
        _("reason for cancelling"), max_length=500, blank=True, default="", db_default=""
    )
    progress_done = models.BigIntegerField(_("progress"), null=True, blank=True)
    progress_total = models.BigIntegerField(_("progress, total"), null=True, blank=True)
    progress_note = models.CharField(
        _("progress, note"), max_length=200, blank=True, default="", db_default=""
    )
    progress_at = models.DateTimeField(_("progress told"), null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("requested by"),
        null=True,
        blank=True,
        on_delete=set_null_beside_runs,
        db_constraint=False,
        related_name="+",
    )
    subject_type = models.ForeignKey(
        ContentType,
        verbose_name=_("type of subject"),
        null=True,
        blank=True,
        on_delete=set_null_beside_runs,
        db_constraint=False,
        db_index=False,  # the index by subject below begins with it
        related_name="+",
    )
    subject_id = ExactCharField(_("id of subject"), max_length=255, blank=True, default="")
    subject = SubjectKey("subject_type", "subject_id")
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

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
            models.Index(fields=["error_type", "-created_at", "-id"], name="fluxio_run_by_error"),
            models.Index(fields=["version", "-created_at", "-id"], name="fluxio_run_by_version"),
            models.Index(
                fields=["queue", "status", "-priority", "available_at", "id"],
                name="fluxio_run_by_queue",
            ),
            models.Index(fields=["due_at"], name="fluxio_run_due"),
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

    class Meta:
        verbose_name = _("checkpoint")
        verbose_name_plural = _("checkpoints")
        ordering = ["run_id", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["run", "sequence"], name="fluxio_checkpoint_sequence"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.sequence} {self.kind} {self.step}".rstrip()


class Queue(models.Model):
    """A queue that somebody has paused, or has resumed since: nothing is claimed while it is."""

    name = ExactCharField(_("name"), max_length=100, unique=True)
    paused_at = models.DateTimeField(_("paused"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        ordering = ["name"]
        default_permissions = ("change", "view")

    def __str__(self) -> str:
        return self.name


class Gate(models.Model):
    """What the queued runs of a pipeline with limits pass one at a time when they are claimed.

    The next one may pass from `opens_at` on, and one of those that were held back has been asked to
    come again at `wakes_at`. `turns` only changes so that the row is locked.
    """

    pipeline = ExactCharField(_("pipeline"), max_length=200, unique=True)
    turns = models.BigIntegerField(_("turns"), default=0)
    opens_at = models.DateTimeField(_("opens"), null=True, blank=True)
    wakes_at = models.DateTimeField(_("wakes"), null=True, blank=True)

    class Meta:
        verbose_name = _("gate")
        verbose_name_plural = _("gates")
        default_permissions = ()

    def __str__(self) -> str:
        return self.pipeline


class DeduplicationKey(models.Model):
    """Which run was the last to be enqueued with a key; others are kept out while it is open."""

    pipeline = ExactCharField(_("pipeline"), max_length=200)
    key = ExactCharField(_("key"), max_length=64)
    run_id = ExactCharField(_("run id"), max_length=128)

    class Meta:
        verbose_name = _("deduplication key")
        verbose_name_plural = _("deduplication keys")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "key"], name="fluxio_key_unique"),
        ]
        indexes = [models.Index(fields=["run_id"], name="fluxio_key_by_run")]

    def __str__(self) -> str:
        return f"{self.pipeline} {self.key}"
