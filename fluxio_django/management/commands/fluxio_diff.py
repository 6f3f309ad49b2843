"""fluxio_diff: what differs between two runs, or between two moments."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from fluxio.diff import ABSENT, Change, Changes, Diff
from fluxio.runtime.reading import checked_run_id
from fluxio_django import services
from fluxio_django.management.arguments import moment
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.runs import moment_of_run
from fluxio_django.management.table import Column, draw
from fluxio_django.values import JSON_RULE, json_value, short

_VALUES = [Column(title="a", least=10), Column(title="b", least=10)]
_KEYS = [Column(title="key", least=10), *_VALUES]
_PATHS = [Column(title="path", least=16), Column(title="change", least=7, optional=True)]

_MISSING = "-"


class Command(FluxioCommand):
    """Compares runs."""

    help = (
        "Compare the contexts of two runs key by key, at their newest moments or at others; "
        "the same run may be given twice. Types count: 1, 1.0 and True differ."
    )
    json_help = "Write one JSON object; a side on which a key is missing is left out."
    closing_words = JSON_RULE

    def add_arguments(self, parser: CommandParser) -> None:
        """The two sides, and their moments."""
        super().add_arguments(parser)
        parser.add_argument("a", metavar="A", help="A run id.")
        parser.add_argument("b", metavar="B", help="A run id.")
        for side in ("a", "b"):
            parser.add_argument(
                f"--at-{side}",
                type=moment,
                metavar="MOMENT",
                help=f"Compare {side.upper()} as it was after the row of this number, or before "
                "the step of this key.",
            )
        parser.add_argument(
            "--paths", action="store_true", help="Show what differs inside the values."
        )

    def perform(self, options: Options) -> None:
        """Write what differs."""
        found = services.diff(
            checked_run_id(options["a"]),
            checked_run_id(options["b"]),
            at_a=moment_of_run(options["a"], options["at_a"]),
            at_b=moment_of_run(options["b"], options["at_b"]),
        )
        changes = found.paths() if options["paths"] else None
        if options["json"]:
            self.terminal.json({**_sides(options), **_facts(found, changes)})
        elif not found:
            self.terminal.line("No difference.")
        else:
            self._draw(found, changes)

    def _draw(self, found: Diff, changes: Changes | None) -> None:
        if changes is None:
            rows = [[key, _shown(side, "a"), _shown(side, "b")] for key, side in found.items()]
            shortened = draw(self.terminal, _KEYS, rows)
        else:
            rows = [_row(change) for change in changes]
            shortened = draw(self.terminal, [*_PATHS, *_VALUES], rows)
            if changes.truncated:
                self.terminal.line(f"There are more; the first {len(changes):,} are shown.")
        if shortened:
            self.terminal.line("Some are shortened; --json has them whole.")


def _sides(options: Options) -> dict[str, Any]:
    return {
        "a": {"run_id": options["a"], "at": options["at_a"]},
        "b": {"run_id": options["b"], "at": options["at_b"]},
    }


def _facts(found: Diff, changes: Changes | None) -> dict[str, Any]:
    if changes is None:
        keys = {
            key: {name: json_value(value) for name, value in side.items()}
            for key, side in found.items()
        }
        return {"keys": keys}
    return {"paths": [_change_facts(change) for change in changes], "truncated": changes.truncated}


def _change_facts(change: Change) -> dict[str, Any]:
    sides = {"a": change.a, "b": change.b}
    present = {name: json_value(value) for name, value in sides.items() if value is not ABSENT}
    return {"path": change.text, "kind": change.kind.value, **present}


def _row(change: Change) -> list[str]:
    a = _MISSING if change.a is ABSENT else short(change.a)
    b = _MISSING if change.b is ABSENT else short(change.b)
    return [change.text, change.kind.value.replace("_", " "), a, b]


def _shown(side: dict[str, Any], name: str) -> str:
    return short(side[name]) if name in side else _MISSING
