"""The journal in Redis: every method is one command or one script, and one round trip."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from secrets import token_hex
from typing import Literal

from fluxio.codec import Keyring
from fluxio.errors import CheckpointVersionError, StoreError
from fluxio.program import Manifest
from fluxio.store import refusals
from fluxio.store.admission import check_admission, no_checkpoint, run_in_use, version_changed
from fluxio.store.base import Checkpoint, Claim, Commit, Opening, OpenMode, Row, RunRecord
from fluxio.store.redis import scripts, wire
from fluxio.store.redis.connections import RedisConnections
from fluxio.store.redis.leasing import RedisLeasing
from fluxio.store.redis.names import Names
from fluxio.store.redis.server import Argument, RedisServer
from fluxio.store.snapshot import record_of, row_from_checkpoint
from fluxio.store.vault import lock_rows, unlock_rows
from fluxio.types import RunStatus


class RedisJournal:
    """Runs in Redis, one hash each, under leases by the server's clock.

    Tokens follow the server's time in microseconds, so that they grow even over a run that was
    flushed or expired and then made again. `ttl` is how long a run stays after its last write, in
    seconds, or None for no limit; a run that is being executed stays for two leases at least.
    """

    snapshots_only = False
    transactions = None

    def __init__(
        self,
        connections: RedisConnections,
        *,
        key_prefix: str,
        ttl: float | None,
        keyring: Callable[[], Keyring | None],
    ) -> None:
        self._keyring = keyring
        self._server = RedisServer(connections)
        self._names = Names(key_prefix, ttl)
        self._leasing = RedisLeasing(connections, self._names)

    @property
    def leasing(self) -> RedisLeasing:
        """How the leases of this journal are renewed."""
        return self._leasing

    async def open(self, opening: Opening) -> Claim:
        """Take a run; see `Journal.open` for what is refused."""
        run = self._names.run(opening.run_id)
        manifest = self._names.manifest(opening.pipeline, opening.version)
        answer = await self._server.run_script(
            scripts.OPEN, [run, manifest], self._opening_arguments(opening)
        )
        if wire.to_text(answer[0]) == "refused":
            await self._refuse(opening, busy=answer[1] == 1, fields=answer[2])
        _, token, attempt, head, previous = answer
        return Claim(
            run_id=opening.run_id,
            token=int(token),
            owner=opening.owner,
            attempt=int(attempt),
            head=int(head),
            lease_seconds=opening.lease_seconds,
            previous=RunStatus(wire.to_text(previous)),
        )

    async def commit(self, claim: Claim, commit: Commit) -> None:
        """Append rows and move the record; see `Journal.commit` for what is refused."""
        _check_consecutive(claim, commit)
        answer = await self._server.run_script(
            scripts.COMMIT, [self._names.run(claim.run_id)], self._commit_arguments(claim, commit)
        )
        match wire.to_text(answer[0]):
            case "done":
                return
            case "vanished":
                raise refusals.run_vanished(claim)
            case "lost":
                raise refusals.lease_lost(claim)
            case _:
                raise refusals.out_of_order(claim.run_id, int(answer[1]), commit.rows[0].sequence)

    def release(self, claim: Claim) -> None:
        """Nothing: what no commit has freed, the end of its lease will."""

    async def run(self, run_id: str) -> RunRecord | None:
        """The record of a run, None where it is unknown."""
        run = self._names.run(run_id)
        fields = await self._server.command("HMGET", run, *wire.RECORD_FIELDS)
        return wire.load_record(run_id, fields)

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """Rows with `first <= sequence <= last`, ascending.

        Raises:
            CorruptCheckpointError: one of them is missing, or is no row.
        """
        _, rows = await self._read(run_id, max(first, 0), last)
        return rows

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """The sequence of the newest full row at or before `upto`.

        Raises:
            NoCheckpointError: the run is unknown, or has no such row.
        """
        listed = wire.to_text(await self._server.command("HGET", self._names.run(run_id), "full"))
        for number in reversed(listed.split(",")):
            if number and (upto is None or int(number) <= upto):
                return int(number)
        raise no_checkpoint(run_id)

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest recorded for a version, if it is known."""
        answer = await self._server.command("GET", self._names.manifest(pipeline, version))
        return None if answer is None else Manifest.from_rows(json.loads(answer))

    async def append_snapshot(self, checkpoint: Checkpoint) -> None:
        """Keep a whole state as the newest row of its run, without a claim.

        Raises:
            RunIDInUseError: the run is being executed.
        """
        run_id = checkpoint.run_id
        # The row is bound to its place, so somebody else's write in between means another try.
        while True:
            old = await self.run(run_id)
            answer = await self._server.run_script(
                scripts.SAVE, [self._names.run(run_id)], self._snapshot_arguments(checkpoint, old)
            )
            outcome = wire.to_text(answer[0])
            if outcome == "done":
                return
            if outcome == "busy" and (holder := await self.run(run_id)) is not None:
                raise run_in_use(holder)

    async def newest_state(self, run_id: str) -> tuple[RunRecord, list[Row]] | None:
        """The record of a run and the rows that its newest state is made of.

        Raises:
            CorruptCheckpointError: one of them is missing, or is no row.
        """
        record, rows = await self._read(run_id, "full", None)
        return None if record is None else (record, rows)

    async def forget(self, run_id: str) -> None:
        """Drop a run and its rows; unknown ids are fine."""
        await self._server.command("DEL", self._names.run(run_id))

    async def _read(
        self, run_id: str, first: int | Literal["full"], last: int | None
    ) -> tuple[RunRecord | None, list[Row]]:
        """The record and some of the rows, as they stood at one moment."""
        answer = await self._server.run_script(
            scripts.READ,
            [self._names.run(run_id)],
            [first, "" if last is None else last, *wire.RECORD_FIELDS],
        )
        if not answer:
            return None, []
        begin, fields, found = answer
        rows = [
            wire.load_row(run_id, sequence, text)
            for sequence, text in enumerate(found, start=int(begin))
        ]
        return wire.load_record(run_id, fields), unlock_rows(run_id, rows, self._keyring())

    async def _refuse(self, opening: Opening, *, busy: bool, fields: list[wire.Answer]) -> None:
        record = wire.load_record(opening.run_id, fields)
        try:
            check_admission(opening, record, busy=busy)
        except CheckpointVersionError:
            assert record is not None
            recorded = await self.manifest(opening.pipeline, record.version)
            changes = recorded.changes_to(opening.manifest) if recorded is not None else ()
            raise version_changed(record, opening.version, changes) from None
        raise StoreError(f"Redis and the rules disagree on who may take run {opening.run_id!r}.")

    def _opening_arguments(self, opening: Opening) -> list[Argument]:
        start = opening.start
        if start is None and opening.mode is not OpenMode.TAKE:
            raise ValueError(f"Opening {opening.run_id!r} needs a start row to create the run.")
        created: list[Argument] = (
            ["", "", "", ""]
            if start is None
            else [start.attempt, start.sequence, start.ip, *self._dumped(opening.run_id, [start])]
        )
        known = opening.known if opening.as_known else None
        return [
            opening.mode.value,
            opening.pipeline,
            opening.version,
            opening.owner,
            token_hex(8),
            opening.lease_seconds,
            self._names.lifetime(opening.lease_seconds),
            json.dumps(opening.manifest.to_rows()),
            opening.step,
            opening.parent or "",
            "" if opening.parent_sequence is None else opening.parent_sequence,
            *created,
            opening.carries,
            *(("", "") if known is None else (known.token, known.status.value)),
            *wire.RECORD_FIELDS,
        ]

    def _commit_arguments(self, claim: Claim, commit: Commit) -> list[Argument]:
        running = commit.status is RunStatus.RUNNING
        return [
            claim.token,
            claim.owner,
            token_hex(8),
            commit.status.value,
            int(not commit.status.is_open),
            claim.lease_seconds,
            self._names.lifetime(claim.lease_seconds if running else None),
            commit.attempt,
            commit.ip,
            commit.step,
            commit.error,
            commit.rows[0].sequence if commit.rows else "",
            "".join(f"{row.sequence}," for row in commit.rows if row.full),
            commit.rows[-1].version if commit.rows else "",
            *self._dumped(claim.run_id, commit.rows),
        ]

    def _dumped(self, run_id: str, rows: Sequence[Row]) -> list[bytes]:
        return [wire.dump_row(row) for row in lock_rows(run_id, rows, self._keyring())]

    def _snapshot_arguments(self, checkpoint: Checkpoint, old: RunRecord | None) -> list[Argument]:
        told = record_of(checkpoint)
        sequence, attempt = (0, 1) if old is None else (old.head + 1, old.attempt)
        row = row_from_checkpoint(checkpoint, sequence=sequence, attempt=attempt)
        known = told if old is None else old
        fields: dict[str, Argument] = {
            "pipeline": known.pipeline,
            "version": told.version,
            "status": told.status.value,
            "attempt": attempt,
            "ip": told.ip,
            "step": told.step,
            "error": told.error,
            "takeovers": known.takeovers,
            "parent": known.parent or "",
            "parent_sequence": "" if known.parent_sequence is None else known.parent_sequence,
        }
        return [
            self._names.lifetime(),
            "" if old is None else old.token,
            "" if old is None else old.head,
            int(not told.status.is_open),
            sequence,
            *self._dumped(checkpoint.run_id, [row]),
            *(part for pair in fields.items() for part in pair),
        ]


def _check_consecutive(claim: Claim, commit: Commit) -> None:
    for before, row in pairwise(commit.rows):
        if row.sequence != before.sequence + 1:
            raise refusals.out_of_order(claim.run_id, before.sequence, row.sequence)
