"""fluxio_check: what the code at hand would do with the runs that are open."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.compatibility import Finding, Verdict
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.refusal import refusal
from fluxio_django.management.table import Column, draw
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.redaction import shown_text

_COLUMNS = [
    Column(title="run"),
    Column(title="status", optional=True),
    Column(title="pipeline", least=10),
    Column(title="verdict"),
    Column(title="step", least=10),
    Column(title="why", least=20),
]
_MOST_SHOWN = 200
_TONES = {Verdict.SAFE: Tone.GOOD, Verdict.RERUN: Tone.CAREFUL, Verdict.BLOCKED: Tone.BAD}


class Command(FluxioCommand):
    """Checks open runs against the code."""

    help = (
        "Say which open runs this code would refuse to go on with, and why. Nothing is changed; "
        "run it with the new code before it is deployed."
    )
    json_help = "Write one JSON object a line for each run, and one with the totals at the end."
    closing_words = (
        "safe: it goes on, if need be by compatible_with or a migration of the pipeline. "
        "re-run from a step: it is refused, though nothing before that step has changed; "
        "compatible_with lets such runs go on, and so do fluxio_resume and fluxio_replay "
        "--from-step with --force-version. blocked: it needs the code that recorded it, or a "
        "migration. The exit code is 1 when a run would be refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which runs."""
        super().add_arguments(parser)
        parser.add_argument("--pipeline", help="Only runs of this pipeline.")
        parser.add_argument(
            "--all",
            action="store_true",
            help="Runs that failed, were cancelled or given up as well: they can be resumed.",
        )

    def perform(self, options: Options) -> None:
        """Examine the runs, and write the verdicts."""
        statuses = services.OPEN_STATUSES
        if options["all"]:
            statuses = tuple(one.value for one in RunStatus if one is not RunStatus.SUCCEEDED)
        totals: Counter[Verdict] = Counter()
        told: list[Finding] = []
        for finding in services.examine(statuses, options["pipeline"]):
            totals[finding.verdict] += 1
            if options["json"]:
                self.terminal.json(_facts(finding))
            elif _is_news(finding) and len(told) < _MOST_SHOWN:
                told.append(finding)
        refused = totals[Verdict.RERUN] + totals[Verdict.BLOCKED]
        if options["json"]:
            named = {verdict.value: totals[verdict] for verdict in Verdict}
            self.terminal.json({"examined": totals.total(), **named})
        elif told:
            draw(self.terminal, _COLUMNS, [_cells(finding) for finding in told])
        if refused:
            raise refusal(
                f"This code would refuse {refused:,} of {_runs(totals.total())}: "
                f"{totals[Verdict.RERUN]:,} could be re-run from a step, "
                f"{totals[Verdict.BLOCKED]:,} are blocked."
            )
        if not options["json"]:
            self.terminal.line(f"This code goes on with all of {_runs(totals.total())}.")


def _is_news(finding: Finding) -> bool:
    return finding.verdict is not Verdict.SAFE or finding.passage is not None


def _cells(finding: Finding) -> list[str | Text]:
    verdict = Text(finding.verdict.value, _TONES[finding.verdict])
    why = finding.reason if finding.passage is None else finding.passage.value
    record = finding.record
    return [
        record.run_id,
        record.status.value,
        record.pipeline,
        verdict,
        finding.step,
        shown_text(why),
    ]


def _facts(finding: Finding) -> dict[str, Any]:
    record = finding.record
    return {
        "run_id": record.run_id,
        "pipeline": record.pipeline,
        "status": record.status.value,
        "version": record.version,
        "current": finding.current or None,
        "verdict": finding.verdict.value,
        "step": finding.step or None,
        "repeats_recorded_steps": finding.repeats,
        "passage": None if finding.passage is None else finding.passage.value,
        "reason": shown_text(finding.reason) or None,
        "changes": list(finding.changes),
    }


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
