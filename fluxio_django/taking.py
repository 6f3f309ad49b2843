"""How a query claims a run whose history stays, and what it tells of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from django.db import models
from django.db.models.functions import Coalesce

from fluxio.errors import FluxioError
from fluxio.store.base import Opening, Row, RunRecord
from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime, seconds_parameter
from fluxio_django.frozen import Frozen, frozen_update, given_number, given_text
from fluxio_django.prepared import execute
from fluxio_django.records import SeenRun, Taken, row_of
from fluxio_django.seen import SeenRunQuerySet

Instance = TypeVar("Instance", bound=models.Model, covariant=True)


class TakenRunQuerySet(SeenRunQuerySet[Instance]):
    """Runs that may be claimed as they are."""

    def take(
        self, seen: SeenRun, opening: Opening, token: int, *, owner_is_dead: bool
    ) -> Taken | None:
        """Claim a run whose history stays; None when it changed since it was seen.

        The claim is one statement, so that nothing stays locked should this process stop. On
        PostgreSQL it tells how the run stands then, with the rows that are wanted. Elsewhere a run
        that was executed is read again: its former owner may have committed since it was seen, and
        under our token nobody else can write. Any other one is as it was seen, for nothing changes
        it that does not change its token.
        """
        connection, record = self._connection, seen.record
        claim = self._taking(seen, opening, owner_is_dead)
        values = {
            "run_id": record.run_id,
            "seen_token": record.token,
            "seen_owner": record.owner or "",
            "pipeline": opening.pipeline,
            "token": token,
            "owner": opening.owner,
            "lease": seconds_parameter(opening.lease_seconds, connection),
            "takeovers": _takeovers(record),
        }
        if connection.vendor == "postgresql":
            return self._take_and_tell(claim, values, replace(record, token=token), opening)
        if not execute(connection, claim.statement, claim.filled(values)):
            return None
        if record.status is not RunStatus.RUNNING:
            return Taken(record=replace(record, token=token))
        now = self.seen(opening.run_id)
        return Taken(record=now.record) if now is not None and now.record.token == token else None

    def _take_and_tell(
        self, claim: Frozen, values: Mapping[str, Any], record: RunRecord, opening: Opening
    ) -> Taken | None:
        statement = self._statements.taking(claim.statement, rows=opening.wants_rows)
        found = replace(claim, statement=statement).rows(self._connection, values)
        if not found:
            return None
        head, attempt, *_ = found[0]
        record = replace(record, head=head, attempt=attempt)
        rows = self._rows_of_claim(record, found) if opening.wants_rows else ()
        return Taken(record=record, rows=rows)

    def _rows_of_claim(self, record: RunRecord, found: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
        """The rows that came with a claim, where they are what the run has up to its head.

        What its former owner committed at the last moment may be missing. Then there are none, as
        where one is damaged: whoever asks for them again is told.
        """
        connection = self._connection
        try:
            rows = tuple(
                row_of(record.run_id, values, connection)
                for _, _, *values in found
                if values[0] is not None
            )
        except FluxioError:
            return ()
        due = range(record.head - len(rows) + 1, record.head + 1)
        return rows if [row.sequence for row in rows] == list(due) else ()

    def _taking(self, seen: SeenRun, opening: Opening, owner_is_dead: bool) -> Frozen:
        """The update of `take`, with what differs from claim to claim to be given."""
        status = seen.record.status

        def build() -> tuple[models.QuerySet[Any], dict[str, Any]]:
            run = replace(
                seen.record,
                run_id=given_text("run_id"),
                token=given_number("seen_token"),
                owner=given_text("seen_owner"),
            )
            wish = replace(
                opening,
                pipeline=given_text("pipeline"),
                owner=given_text("owner"),
                lease_seconds=given_number("lease"),
            )
            changes = {
                **claiming(wish, given_number("token")),
                **wish_to_cancel(run),
                "takeovers": given_number("takeovers"),
                "started_at": Coalesce("started_at", DatabaseTime()),
            }
            return self._claimable(replace(seen, record=run), owner_is_dead), changes

        key = "take", status, owner_is_dead and status is RunStatus.RUNNING
        return frozen_update(self.db, key, build)


def claiming(opening: Opening, token: int) -> dict[str, Any]:
    """What a claim sets, whatever becomes of the history."""
    return {
        "pipeline": opening.pipeline,
        "status": RunStatus.RUNNING.value,
        "token": token,
        "owner": opening.owner,
        "lease_expires_at": DatabaseTime(opening.lease_seconds),
        "updated_at": DatabaseTime(),
        "finished_at": None,
        "due_at": None,
        "held_back": "",
    }


def wish_to_cancel(record: RunRecord) -> dict[str, Any]:
    """A wish to cancel stands until somebody has heard it: whoever had the run has not."""
    if record.status is RunStatus.RUNNING:
        return {}
    return {"cancel_requested_at": None, "cancel_reason": ""}


def _takeovers(record: RunRecord) -> int:
    """A claim after expiry counts; one of a finished run is somebody's wish and begins anew."""
    if record.status is RunStatus.RUNNING:
        return record.takeovers + 1
    return record.takeovers if record.status.is_open else 0
