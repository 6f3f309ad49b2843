"""The audit trail: who did what with a run, why, and from where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import router
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import override

from fluxio_django import services
from fluxio_django.admin.measures import printable, time_text
from fluxio_django.isolation import locked, own_transaction
from fluxio_django.models import Run

MOST_ENTRIES = 50

# The reason comes last and takes the rest, so that nothing in it can pass for another part.
_MESSAGE = re.compile(
    r"(?P<summary>.*?) \[(?P<number>[0-9a-f]{32})\] from (?P<origin>\S+): (?P<reason>.*)", re.DOTALL
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrailEntry:
    """One line of the trail; `origin` and `reason` are empty for entries that others wrote."""

    when: str
    user: str
    summary: str
    origin: str = ""
    reason: str = ""


@contextmanager
def together() -> Iterator[None]:
    """A transaction where runs are and where the trail is, which may be two databases."""
    with (
        own_transaction(services.database()),
        own_transaction(_database()),
    ):
        yield


def in_one_language() -> AbstractContextManager[None]:
    """Where entries are put into words: a trail in the language of whoever acted has many."""
    return override(None)


@contextmanager
def alone_with(keys: Sequence[int]) -> Iterator[None]:
    """A transaction for entries about runs, and for what they tell of.

    Two submissions of one form meet here: the second waits, then finds the entries of the first.
    """
    with together():
        runs = Run.objects.using(services.database()).filter(pk__in=keys)
        list(locked(runs).order_by("pk").values_list("pk"))
        yield


def _database() -> str:
    return router.db_for_write(LogEntry)


def is_used(request: HttpRequest, number: str, about: Model) -> bool:
    """Whether a confirmation of this user has been carried out for a record.

    Locks what it finds, so that it sees the newest entries even inside a transaction that began
    before they were written.
    """
    entries = LogEntry.objects.using(_database()).select_for_update()
    mine = entries.filter(**_of(about), user=request.user.pk)
    return bool(mine.filter(change_message__contains=f"[{number}]").values_list("pk"))


def trail(run: Run) -> Sequence[TrailEntry]:
    """What people did with a run, the newest first."""
    entries = (
        LogEntry.objects.filter(**_of(run))
        .select_related("user")
        .order_by("-action_time", "-pk")[:MOST_ENTRIES]
    )
    return [_trail_entry(entry) for entry in entries]


def _of(about: Model) -> dict[str, object]:
    kind = ContentType.objects.get_for_model(about, for_concrete_model=False)
    return {"content_type": kind, "object_id": str(about.pk)}


def _trail_entry(entry: LogEntry) -> TrailEntry:
    parts = _MESSAGE.fullmatch(entry.change_message)
    user = entry.user.get_username()
    if parts is None:
        summary = printable(entry.get_change_message())
        return TrailEntry(when=time_text(entry.action_time), user=user, summary=summary)
    return TrailEntry(
        when=time_text(entry.action_time),
        user=user,
        summary=printable(parts["summary"]),
        origin=parts["origin"],
        reason=printable(parts["reason"]),
    )
