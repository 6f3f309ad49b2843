"""What people do with runs, as the audit trail writes it down: what, why, and from where."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from django.apps import apps
from django.http import HttpRequest

from fluxio_django.models import Run
from fluxio_django.records import storable

logger = logging.getLogger("fluxio.audit")

_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}(%[0-9A-Za-z]{1,16})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """An operation as it is written down. `number` is that of its confirmation, or of its own."""

    summary: str
    reason: str
    number: str

    def message(self, request: HttpRequest) -> str:
        """The text of the entry, for people and for the trail."""
        return f"{self.summary} [{self.number}] from {origin(request)}: {storable(self.reason)}"


def origin(request: HttpRequest) -> str:
    """The address that the server saw; headers, which anybody can write, are not asked."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    return address if _ADDRESS.fullmatch(address) else "unknown"


def record(request: HttpRequest, run: Run, deed: Deed) -> None:
    """Write a deed into the trail that the admin shows, and into the log `fluxio.audit`.

    Without `django.contrib.admin` there is no table for it, so that the log is all there is.
    """
    logger.info(
        "%s did this with run %s: %s",
        request.user,
        run.run_id,
        deed.message(request),
        extra={"run_id": run.run_id, "pipeline": run.pipeline},
    )
    if not apps.is_installed("django.contrib.admin"):
        return
    # Its models exist only where it is installed.
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    assert request.user.pk is not None
    LogEntry.objects.create(
        user_id=request.user.pk,
        content_type=ContentType.objects.get_for_model(run, for_concrete_model=False),
        object_id=str(run.pk),
        object_repr=str(run)[:200],
        action_flag=CHANGE,
        change_message=deed.message(request),
    )
