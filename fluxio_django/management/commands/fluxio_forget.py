"""fluxio_forget: mask or delete what an object has left in runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from fluxio_django import services
from fluxio_django.forgetting import Forgetting, Forgot, Target, Trace
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.forcing import own_name
from fluxio_django.management.refusal import refusal
from fluxio_django.management.table import Column, draw

_COLUMNS = [
    Column(title="run"),
    Column(title="pipeline", least=10),
    Column(title="status"),
    Column(title="what", least=20),
]


class Command(FluxioCommand):
    """Forgets an object."""

    help = (
        "Say which runs an object has left something in: those that are about it, those that it "
        "asked for, and those whose values refer to it. With --mask or --delete, remove it from "
        "those that have ended."
    )
    json_help = "Write one JSON object."
    closing_words = (
        "--mask: every value of a run about the object is masked, and in all other runs the "
        "references to it and the link to the user who asked; rows are sealed anew and say when, "
        "by whom and why. --delete: runs about the object are deleted, others are masked. Other "
        "values that somebody copied into the context of other runs cannot be found. The exit code "
        "is 1 where something is left, since a run is open."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The object, and what is to be done."""
        super().add_arguments(parser)
        parser.add_argument(
            "object", metavar="app.Model:pk", help="The object, which may be gone already."
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--mask", action="store_true", help="Mask values, and keep the runs.")
        how.add_argument("--delete", action="store_true", help="Delete the runs about it.")
        parser.add_argument(
            "--reason", default="", metavar="TEXT", help="Why; kept in the rows that are masked."
        )

    def perform(self, options: Options) -> None:
        """Find the traces, and remove them where that is wished for."""
        target = Target.parse(options["object"])
        if not (options["mask"] or options["delete"]):
            self._tell(target, services.traces_of(target), options)
            return
        if not options["reason"].strip():
            raise refusal("--mask and --delete need a --reason, which is kept with what is masked.")
        wish = Forgetting(by=own_name(), reason=options["reason"].strip(), delete=options["delete"])
        done = services.forget(target, wish)
        self._report(target, done, options)
        left = [one for one in done if one.problem]
        if left:
            raise refusal(
                f"{len(left):,} of {_runs(len(done))} still hold what {target} has left there: "
                f"{left[0].trace.run_id}: {left[0].problem}"
            )

    def _tell(self, target: Target, found: Sequence[Trace], options: Options) -> None:
        if options["json"]:
            self.terminal.json(
                {"object": str(target), "dry_run": True, "runs": [_facts(one) for one in found]}
            )
            return
        if found:
            draw(
                self.terminal,
                _COLUMNS,
                [[one.run_id, one.pipeline, one.status, _words(one)] for one in found],
            )
        self.terminal.line(
            f"{target} has left something in {_runs(len(found))}. Nothing was changed; "
            "--mask or --delete does."
        )

    def _report(self, target: Target, done: Sequence[Forgot], options: Options) -> None:
        masked = [one for one in done if one.masked]
        deleted = [one for one in done if one.deleted]
        cut = [one for one in done if one.cut]
        if options["json"]:
            runs = [
                {
                    **_facts(one.trace),
                    "masked": one.masked,
                    "deleted": one.deleted,
                    "cut": one.cut,
                    "problem": one.problem or None,
                }
                for one in done
            ]
            self.terminal.json({"object": str(target), "dry_run": False, "runs": runs})
            return
        rows = sum(one.masked for one in masked)
        self.terminal.line(
            f"{target}: masked {rows:,} rows of {_runs(len(masked))}, "
            f"deleted {_runs(len(deleted))}, cut the link from {_runs(len(cut))}."
        )


def _words(trace: Trace) -> str:
    rows = "" if not trace.rows else f"row {', '.join(map(str, trace.rows[:5]))} refers to it"
    about = "it is about it" if trace.about else ""
    asked = "it was asked for by it" if trace.asked else ""
    return "; ".join(filter(None, (about, asked, rows)))


def _facts(trace: Trace) -> dict[str, Any]:
    return {
        "run_id": trace.run_id,
        "pipeline": trace.pipeline,
        "status": trace.status,
        "open": trace.is_open,
        "about": trace.about,
        "rows": list(trace.rows),
        "asked": trace.asked,
    }


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
