"""fluxio_list: the registered pipelines."""

from __future__ import annotations

from typing import Any

from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.table import Column, draw
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.registry import pipelines

_COLUMNS = [
    Column(title="pipeline"),
    Column(title="version"),
    Column(title="steps", right=True),
    Column(title="durable"),
    Column(title="problem", least=12),
]


class Command(FluxioCommand):
    """Lists pipelines."""

    help = "List the registered pipelines: those of pipelines.py in every installed app."
    json_help = "Write one JSON object a line for each pipeline."

    def perform(self, options: Options) -> None:
        """Write the pipelines, by name."""
        found = [_facts(name) for name in pipelines.names()]
        if options["json"]:
            for facts in found:
                self.terminal.json(facts)
        elif not found:
            self.terminal.line(
                "No pipelines are registered. Write a pipelines.py in an installed app, with "
                '@register("orders.checkout") above a function that returns a Pipeline.'
            )
        else:
            draw(self.terminal, _COLUMNS, [_row(facts) for facts in found])


def _facts(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = dict.fromkeys(("version", "steps", "durable", "problem"))
    try:
        pipeline = pipelines[name]
    except Exception as problem:  # noqa: BLE001 - one broken factory must not hide the other pipelines
        return {"name": name, **facts, "problem": f"{type(problem).__qualname__}: {problem}"}
    return {
        "name": name,
        **facts,
        "version": pipeline.version,
        "steps": len(pipeline.compiled.calls),
        "durable": pipeline.durable,
    }


def _row(facts: dict[str, Any]) -> list[str | Text]:
    if facts["problem"] is not None:
        return [facts["name"], "", "", "", Text(facts["problem"], Tone.BAD)]
    durable = "yes" if facts["durable"] else "no"
    return [facts["name"], facts["version"], str(facts["steps"]), durable, ""]
