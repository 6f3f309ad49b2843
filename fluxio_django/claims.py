"""How a run is claimed: one request to own it, over as many tries as it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from secrets import randbits
from time import monotonic

from django.db import IntegrityError

from fluxio.errors import CheckpointVersionError
from fluxio.runtime.owner import is_provably_dead
from fluxio.store.admission import check_admission, source_changed, version_changed
from fluxio.store.base import Claim, Opening, OpenMode, Row, RunRecord
from fluxio.types import RunStatus
from fluxio_django.faults import RACES, changed_too_often
from fluxio_django.idling import bounded_transaction
from fluxio_django.isolation import locked
from fluxio_django.limits import AtLimitError, Limits, limits_of
from fluxio_django.records import NO_NOTE, Beginning, SeenRun, Taken, next_token, record_to_begin
from fluxio_django.tables import Tables

_FIRST_TOKEN_BITS = 32


def start_of(opening: Opening) -> Row:
    """The first row of the run that an opening creates.

    Raises:
        ValueError: there is none.
    """
    if opening.start is None:
        raise ValueError(f"Opening {opening.run_id!r} needs a start row to create the run.")
    return opening.start


class Admission:
    """One opening; call it until it gives a claim or refuses.

    A run is looked at and then claimed by an update that matches it only as it was seen, so that
    two executions can never both be let in.

    Tokens begin at random, so that those of a run that was deleted never hold for another one made
    under its id; and they grow by random steps, so that a try whose answer was lost with the
    connection is recognised by the next one.
    """

    def __init__(self, tables: Tables, opening: Opening) -> None:
        self._tables = tables
        self._opening = opening
        # What our try would leave behind, from its start until its outcome is known.
        self._unanswered: tuple[int, RunStatus] | None = None

    def __call__(self) -> Claim:
        """Take the run; see `Journal.open` for what is refused."""
        lost_answer = self._unanswered
        if self._opening.mode is not OpenMode.TAKE and lost_answer is None:
            claim = self._begin()
            if claim is not None:
                return claim
        known = self._known() if lost_answer is None else None
        for _ in range(RACES):
            seen = known or self._tables.runs.seen(self._opening.run_id)
            known = None
            if seen is None:
                check_admission(self._opening, None, busy=False)
                claim = self._begin()
            elif lost_answer is not None and self._is_ours(seen.record, lost_answer[0]):
                claim = self._claim(seen.record, lost_answer[1])
            else:
                claim = self._take(seen)
            if claim is not None:
                return claim
        raise changed_too_often(self._opening.run_id, "claimed")

    def _known(self) -> SeenRun | None:
        """The run as our caller has seen it; only the database knows whether a lease holds."""
        record = self._opening.known
        if record is None or record.status is RunStatus.RUNNING:
            return None
        return SeenRun(pk=0, held=False, record=record)

    @property
    def was_asked(self) -> bool:
        """Whether a try of it has had no answer yet."""
        return self._unanswered is not None

    def was_refused(self) -> None:
        """Remember that the last try was not applied, for sure."""
        self._unanswered = None

    def beginning(self) -> Beginning:
        """What creates the run, for whoever asks the database now; he says `answered` later."""
        start = start_of(self._opening)
        record = record_to_begin(self._opening, start, randbits(_FIRST_TOKEN_BITS))
        self._unanswered = record.token, RunStatus.QUEUED
        note = self._opening.note or NO_NOTE
        return Beginning(record, note, self._opening.lease_seconds, start)

    def answered(self, beginning: Beginning, *, begun: bool) -> Claim | None:
        """The claim on a run that was created, None where the id was taken."""
        self._unanswered = None
        return self._claim(beginning.record, RunStatus.QUEUED) if begun else None

    def _begin(self) -> Claim | None:
        asked = self.beginning()
        begin = partial(
            self._tables.constant_runs.begin,
            asked.record,
            asked.lease_seconds,
            [asked.start],
            asked.note,
        )
        try:
            begun = begin() if self._opening.parent_token is None else self._begin_fork(begin)
        except IntegrityError:
            begun = False
        return self.answered(asked, begun=begun)

    def _begin_fork(self, begin: Callable[[], bool]) -> bool:
        """Insert a fork while nobody can forget what its source holds.

        Raises:
            SourceChangedError: that has happened since the source was read.
        """
        tables, opening = self._tables, self._opening
        assert opening.parent is not None
        source = tables.runs.filter(run_id=opening.parent, token=opening.parent_token)
        with bounded_transaction(tables.alias, opening.lease_seconds):
            if not locked(source).exists():
                raise source_changed(opening.run_id, opening.parent)
            return begin()

    def _take(self, seen: SeenRun) -> Claim | None:
        owner_is_dead = self._owner_is_dead(seen)
        self._check(seen, busy=seen.held and not owner_is_dead)
        token = next_token(seen)
        takes = self._opening.mode is OpenMode.TAKE
        previous = seen.record.status if takes else RunStatus.QUEUED
        self._unanswered = token, previous
        runs = self._tables.runs
        claim = runs.take if takes else runs.restart
        take = partial(claim, seen, self._opening, token, owner_is_dead=owner_is_dead)
        limits = limits_of(self._opening.pipeline)
        waits = takes and limits.gated and self._has_no_place(seen, limits)
        asked = monotonic()
        taken = self._through_gate(limits, take) if waits else take()
        self._unanswered = None
        if taken is None:
            return None
        # Who was kept from reading the answer for a whole lease may have an heir by then.
        if monotonic() - asked >= self._opening.lease_seconds and not self._is_held(token):
            return None
        return replace(self._claim(taken.record, previous), rows=taken.rows)

    def _has_no_place(self, seen: SeenRun, limits: Limits) -> bool:
        """Whether a run is not among those that are counted against its pipeline's limits."""
        if seen.record.status is RunStatus.RUNNING and limits.concurrency is not None:
            return self._tables.runs.has_no_place(seen.record.run_id)
        return seen.record.status is RunStatus.QUEUED

    def _through_gate(self, limits: Limits, take: Callable[[], Taken | None]) -> Taken | None:
        """Take a queued run of a pipeline with limits, while no other one can be taken.

        Raises:
            AtLimitError: it may not be taken now.
        """
        tables, opening = self._tables, self._opening
        with bounded_transaction(tables.alias, opening.lease_seconds):
            tables.gates.enter(opening.pipeline)
            self._check_limits(limits)
            taken = take()
            if taken is not None and limits.interval is not None:
                tables.gates.close(opening.pipeline, limits.interval)
            return taken

    def _check_limits(self, limits: Limits) -> None:
        tables, run_id, pipeline = self._tables, self._opening.run_id, self._opening.pipeline
        if limits.concurrency is not None:
            executed = tables.runs.executed(pipeline)
            if executed >= limits.concurrency:
                raise AtLimitError(
                    f"{executed:,} of {limits.concurrency:,} runs of pipeline {pipeline!r} that "
                    "may be executed at once are being executed.",
                    run_id=run_id,
                    retry_after=None,
                )
        wait = 0.0 if limits.interval is None else tables.gates.opens_in(pipeline)
        if wait > 0:
            raise AtLimitError(
                f"Runs of pipeline {pipeline!r} may start {limits.rate}; the next one in "
                f"{wait:.3g} s.",
                run_id=run_id,
                retry_after=wait,
            )

    def _check(self, seen: SeenRun, *, busy: bool) -> None:
        try:
            check_admission(self._opening, seen.record, busy=busy)
        except CheckpointVersionError:
            known = self._tables.versions.manifest(seen.record.pipeline, seen.record.version)
            changes = known.changes_to(self._opening.manifest) if known is not None else ()
            raise version_changed(seen.record, self._opening.version, changes) from None

    def _owner_is_dead(self, seen: SeenRun) -> bool:
        """Whether the lease need not be waited for, since its holder is gone from this machine."""
        owner = seen.record.owner
        return seen.held and owner is not None and is_provably_dead(owner)

    def _is_held(self, token: int) -> bool:
        seen = self._tables.runs.seen(self._opening.run_id)
        return seen is not None and self._is_ours(seen.record, token)

    def _is_ours(self, record: RunRecord, token: int) -> bool:
        return (record.token, record.owner) == (token, self._opening.owner)

    def _claim(self, record: RunRecord, previous: RunStatus) -> Claim:
        return Claim(
            run_id=record.run_id,
            token=record.token,
            owner=self._opening.owner,
            attempt=record.attempt,
            head=record.head,
            lease_seconds=self._opening.lease_seconds,
            previous=previous,
        )
