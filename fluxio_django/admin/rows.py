"""The rows of a run's log as lines of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from fluxio.store.payload import ErrorBody
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.measures import duration_text, printable, time_text
from fluxio_django.admin.operations import FORK, REPLAY, Operation
from fluxio_django.admin.rendering import Item, Renderer
from fluxio_django.admin.standing import Standing
from fluxio_django.enums import RowKind
from fluxio_django.log import Line
from fluxio_django.models import Checkpoint
from fluxio_django.rights import Right

MOST_KEYS = 6

_AFTER_SLASH = re.compile("(?<=/)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownError:
    """A failure. `message` and `traceback` are empty for those who may not see values."""

    type: str
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A place to go."""

    text: str
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownRow:
    """One line of the table; facts of a row that is missing or damaged are empty."""

    sequence: int
    address: str = ""
    attempt: int | None = None
    step: str = ""
    branch: str = ""
    background: bool = False
    kind: str = ""
    failed: bool = False
    keys: Sequence[str] = ()
    more_keys: int = 0
    route: str = ""
    items: Sequence[Item] = ()
    error: ShownError | None = None
    damage: str = ""
    unopened: bool = False
    tries: int = 0
    duration: str = ""
    size: str = ""
    created: str = ""
    created_short: str = ""
    before: str = ""
    tools: Sequence[Link] = ()

    @property
    def step_parts(self) -> Sequence[str]:
        """The step key in parts between which it may be broken."""
        return _AFTER_SLASH.split(self.step)

    @property
    def is_stray(self) -> bool:
        """Whether the step's key does not tell in which branch it ran."""
        return bool(self.branch) and not f"{self.step}/".startswith(f"{self.branch}/")


class RowPresenter:
    """Turns lines into table rows for one user and one run."""

    def __init__(self, model_admin: RunDesk, request: HttpRequest, standing: Standing) -> None:
        self._admin = model_admin
        self._standing = standing
        self._renderer = Renderer()
        self.with_values = model_admin.may(request, Right.VALUES, standing.run)
        self._tools = [
            operation
            for operation in (REPLAY, FORK)
            if not operation.refusal(standing, False)
            and model_admin.may(request, operation.right, standing.run)
        ]

    def show(self, line: Line) -> ShownRow:
        """The line as a table row."""
        if line.checkpoint is None:
            return ShownRow(sequence=line.sequence, damage=line.damage)
        row = line.checkpoint
        names = list(line.writes)
        return ShownRow(
            sequence=line.sequence,
            address=self._admin.address("checkpoint_change", row.pk),
            attempt=row.attempt,
            step=printable(row.step),
            branch=printable(row.branch),
            background=row.background,
            kind=_kind(row),
            failed=row.kind == RowKind.ERROR,
            keys=[printable(name[:100]) for name in names[:MOST_KEYS]],
            more_keys=max(len(names) - MOST_KEYS, 0),
            route=printable((line.body.route if line.body else None) or ""),
            items=self._renderer.show_items(line.writes) if self.with_values else (),
            error=self._error(line.error),
            damage=printable(line.damage),
            unopened=line.is_unopened,
            tries=row.tries,
            duration=duration_text(row.duration) if row.step else "",
            size=filesizeformat(row.size),
            created=time_text(row.created_at),
            created_short=self._short(row.created_at),
            before=self._before(row),
            tools=self._links(row, damaged=bool(line.damage)),
        )

    def _before(self, row: Checkpoint) -> str:
        """Where the state before the row is shown, to those who may see values."""
        if not self.with_values or row.sequence < 1:
            return ""
        return self._admin.address(
            "run_state", run=self._standing.run.pk, at=row.sequence - 1, beside=row.sequence
        )

    def _error(self, error: ErrorBody | None) -> ShownError | None:
        if error is None:
            return None
        kind = printable(error.type)
        if not self.with_values:
            return ShownError(type=kind)
        return ShownError(
            type=kind, message=printable(error.message), traceback=printable(error.traceback)
        )

    def _short(self, moment: datetime) -> str:
        """The time of day, with the day where it is not the one on which the run began."""
        day, _space, time = time_text(moment).partition(" ")
        begun = time_text(self._standing.run.created_at).partition(" ")[0]
        return time if day == begun else f"{day} {time}"

    def _links(self, row: Checkpoint, *, damaged: bool) -> list[Link]:
        pipeline = self._standing.pipeline
        if damaged or pipeline is None or row.step not in pipeline.compiled.index:
            return []
        return [self._link(operation, row) for operation in self._tools]

    def _link(self, operation: Operation, row: Checkpoint) -> Link:
        address = self._admin.address(
            f"run_{operation.name}", run=self._standing.run.pk, from_step=row.step
        )
        return Link(text=str(operation.title), address=address)


def _kind(row: Checkpoint) -> str:
    return str(RowKind(row.kind).label) if row.kind in RowKind.values else printable(row.kind)
