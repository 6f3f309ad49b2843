"""fluxio_explain: what a pipeline was compiled to."""

from __future__ import annotations

from django.core.management.base import CommandParser

from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.registry import pipelines


class Command(FluxioCommand):
    """Explains a pipeline."""

    help = "Show what a pipeline was compiled to: its steps, branches and routes."
    json_help = "Write one JSON object with the outline, the chart and the manifest."

    def add_arguments(self, parser: CommandParser) -> None:
        """The pipeline, and the form."""
        super().add_arguments(parser)
        parser.add_argument("pipeline", help="Its registered name; fluxio_list shows all.")
        parser.add_argument(
            "--mermaid",
            action="store_true",
            help="Write a Mermaid flowchart instead of an outline.",
        )

    def perform(self, options: Options) -> None:
        """Write the outline or the chart."""
        pipeline = pipelines[options["pipeline"]]
        if options["json"]:
            self.terminal.json(
                {
                    "name": pipeline.name,
                    "version": pipeline.version,
                    "durable": pipeline.durable,
                    "steps": [call.key for call in pipeline.compiled.calls],
                    "manifest": pipeline.compiled.manifest.to_rows(),
                    "outline": pipeline.explain(),
                    "mermaid": pipeline.to_mermaid(),
                }
            )
        else:
            self.terminal.lines(pipeline.to_mermaid() if options["mermaid"] else pipeline.explain())
