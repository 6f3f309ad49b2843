"""How results are shown: a Markdown table for people, one JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.measuring import Result


def table(results: Sequence[Result]) -> str:
    """A Markdown table, one line per workload, a column for each peer that was there."""
    names = list(dict.fromkeys(name for result in results for name in result.peers))
    head = ["", "unit", "ours: median (min-max)", "floor", *names, "ratio", "goal", "met"]
    lines = [_line(head), _line(["---"] * len(head))]
    for result in results:
        others = [str(result.peers.get(name, "-")) for name in names]
        met = "yes" if result.meets_goal else "no"
        lines.append(
            _line(
                [
                    f"**{result.workload.name}**",
                    result.workload.unit,
                    str(result.ours),
                    str(result.floor),
                    *others,
                    f"{result.ratio:.2f}",
                    result.workload.goal,
                    met,
                ]
            )
        )
    return "\n".join(lines)


def notes(results: Sequence[Result]) -> str:
    """What each workload is, what its floor is, and what else was found out."""
    lines = []
    for result in results:
        work = result.workload
        facts = "".join(f"; {name}: {value}" for name, value in result.facts.items())
        lines.append(f"- {work.name}: {work.title}. Floor: {work.floor_title}{facts}.")
    return "\n".join(lines)


def one_line(results: Sequence[Result]) -> str:
    """The short JSON that ends the output: name, figures and ratio of each workload."""
    return json.dumps({"results": [_brief(result) for result in results]})


def document(results: Sequence[Result], about: dict[str, str]) -> str:
    """Everything that was measured, as JSON."""
    found = []
    for result in results:
        found.append(
            {
                **_brief(result),
                "title": result.workload.title,
                "floor_title": result.workload.floor_title,
                "goal": result.workload.goal,
                "met": result.meets_goal,
                "ours": list(result.ours.values),
                "floors": list(result.floor.values),
                "peers": {name: list(figures.values) for name, figures in result.peers.items()},
                "facts": dict(result.facts),
            }
        )
    return json.dumps({"about": about, "results": found}, indent=2)


def _brief(result: Result) -> dict[str, Any]:
    return {
        "workload": result.workload.name,
        "value": result.ours.median,
        "floor": result.floor.median,
        "ratio": result.ratio,
        "unit": result.workload.unit,
    }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
