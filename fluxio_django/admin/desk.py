"""What the pages ask of the admin they belong to: rights, look-ups and addresses, for one site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.forms import Media
from django.http import HttpRequest

from fluxio_django.models import PipelineVersion, Queue, Run
from fluxio_django.rights import Right


class Desk(Protocol):
    """Any of our admins."""

    @property
    def admin_site(self) -> AdminSite:
        """The site, of which there may be several."""

    @property
    def opts(self) -> Any:
        """The model's options, as Django's templates want them."""

    @property
    def media(self) -> Media:
        """The files of style and script."""

    def address(self, name: str, *keys: Any, **query: Any) -> str:
        """The address of one of our pages in this admin site."""


class RunDesk(Desk, Protocol):
    """The admin of runs; `RunAdmin` is one."""

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Whether the user may see runs, or this one."""

    def may(self, request: HttpRequest, right: Right, run: Run | None = None) -> bool:
        """Whether the user may see runs, or this one, and has the right for it."""

    def may_force(self, request: HttpRequest) -> bool:
        """Whether the user may have a run go on whatever version recorded it."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """The runs this user can see at all."""

    def visible(self, request: HttpRequest, keys: Sequence[int]) -> list[Run]:
        """The runs with these primary keys, or Http404."""

    def visible_by_id(self, request: HttpRequest, run_id: str) -> Run | None:
        """The run with this id, None where it is unknown or not for this user."""

    def log_change(self, request: HttpRequest, obj: Run, message: Any, /) -> Any:
        """Write an entry into the audit trail."""


class PipelineDesk(Desk, Protocol):
    """The admin of pipelines; `PipelineVersionAdmin` is one."""

    @property
    def runs(self) -> RunDesk:
        """The admin of runs on the same site."""

    def has_view_permission(self, request: HttpRequest, obj: PipelineVersion | None = None) -> bool:
        """Whether the user may see pipelines."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[PipelineVersion]:
        """The versions this user can see at all."""


class QueueDesk(Desk, Protocol):
    """The admin of queues; `QueueAdmin` is one."""

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Whether the user may pause and resume queues."""

    def log_change(self, request: HttpRequest, obj: Queue, message: Any, /) -> Any:
        """Write an entry into the audit trail."""
