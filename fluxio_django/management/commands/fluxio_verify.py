"""fluxio_verify: whether what is recorded of runs is whole and makes sense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections

from fluxio.errors import CorruptCheckpointError, FluxioError
from fluxio.program import CompiledPipeline
from fluxio.store.base import Row, RunRecord
from fluxio.verification import Rule, Violation, verify_log
from fluxio_django import services
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.refusal import refusal
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.models import Checkpoint
from fluxio_django.records import ROW_FIELDS, row_of
from fluxio_django.registry import pipelines
from fluxio_django.tables import Tables

_LOOKS = 5
"""How often a run is looked at again that changed while it was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Account:
    """What was found out about one run; `moving` says that it changed faster than it was read."""

    run_id: str
    violations: Sequence[Violation] = ()
    moving: bool = False


class Command(FluxioCommand):
    """Checks runs."""

    help = (
        "Check what is recorded of runs: that each row is as it was written, that none is missing "
        "and no step is recorded twice, that decisions of routers were kept, and that the run's "
        "status agrees. Nothing is changed."
    )
    json_help = "Write one JSON object."
    closing_words = (
        "The exit code is 1 when something is wrong. A run whose pipeline is registered in the "
        "version that recorded it is followed through that pipeline as well."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which runs."""
        super().add_arguments(parser)
        parser.add_argument(
            "run_id", nargs="*", metavar="run-id", help="The runs to check; all if left out."
        )

    def perform(self, options: Options) -> None:
        """Check the runs, and write what is wrong with them."""
        checked = moving = wrong = 0
        found: list[Violation] = []
        for account in _accounts(options["run_id"]):
            checked += 1
            moving += account.moving
            wrong += bool(account.violations)
            if options["json"]:
                found += account.violations
            else:
                self._show(account)
        if options["json"]:
            violations = [_facts(violation) for violation in found]
            self.terminal.json({"checked": checked, "moving": moving, "violations": violations})
        if wrong:
            raise refusal(f"Something is wrong with {wrong:,} of {_runs(checked)}.")
        if not options["json"]:
            self.terminal.line(f"Checked {_runs(checked)}: nothing is wrong.")

    def _show(self, account: _Account) -> None:
        for violation in account.violations:
            where = "" if violation.sequence is None else f", row {violation.sequence}"
            place = f"{violation.run_id}{where}: "
            self.terminal.line(place, Text(f"{violation.rule}: {violation.message}", Tone.BAD))
        if account.moving:
            text = "it is being executed and changed while it was read; check it again"
            self.terminal.line(f"{account.run_id}: ", Text(text, Tone.CAREFUL))


def _accounts(run_ids: Sequence[str]) -> Iterator[_Account]:
    if run_ids:
        for run_id in run_ids:
            yield _account(services.find_run(run_id).run_id)
        return
    for run_id in Tables().runs.all_ids():
        yield _account(run_id)


def _account(run_id: str) -> _Account:
    runs = Tables().runs
    for _ in range(_LOOKS):
        try:
            seen = runs.seen(run_id)
            if seen is None:
                return _Account(run_id=run_id)  # it was pruned meanwhile
            rows = _rows(seen.pk, run_id)
            again = runs.seen(run_id)
        except CorruptCheckpointError as problem:
            return _unreadable(run_id, Rule.SEAL, problem.reason, problem.sequence)
        except ValueError as problem:
            return _unreadable(run_id, Rule.RECORD, str(problem))
        if again is not None and _place(again.record) == _place(seen.record):
            violations = verify_log(seen.record, rows, _program(seen.record))
            return _Account(run_id=run_id, violations=violations)
    return _Account(run_id=run_id, moving=True)


def _rows(run: int, run_id: str) -> list[Row]:
    """The rows as they stand in the table, whatever the run's record says about them."""
    alias = services.database()
    stored = Checkpoint.objects.using(alias).filter(run=run).order_by("sequence")
    return [row_of(run_id, row, connections[alias]) for row in stored.values_list(*ROW_FIELDS)]


def _place(record: RunRecord) -> tuple[Any, ...]:
    """What every change of a run's rows changes as well; heartbeats do not."""
    return record.token, record.head, record.attempt, record.status


def _program(record: RunRecord) -> CompiledPipeline | None:
    try:
        program = pipelines[record.pipeline].compiled
    except FluxioError:
        return None
    return program if program.version == record.version else None


def _unreadable(run_id: str, rule: Rule, message: str, sequence: int | None = None) -> _Account:
    violation = Violation(run_id=run_id, rule=rule, message=message, sequence=sequence)
    return _Account(run_id=run_id, violations=[violation])


def _facts(violation: Violation) -> dict[str, Any]:
    return {
        "run_id": violation.run_id,
        "rule": violation.rule.value,
        "sequence": violation.sequence,
        "message": violation.message,
    }


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
