"""demo: kill an import in the middle, resume it, fork it, and count."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from example_project.demo.story import Story


class Command(BaseCommand):
    """Shows what the project is for, on this terminal."""

    help = "Kill an import in the middle, resume it, fork it, and count that nothing ran twice."

    def handle(self, *args: Any, **options: Any) -> None:
        """Tell the story.

        Raises:
            CommandError: a figure is not what it should be.
        """
        call_command("migrate", verbosity=0, interactive=False)
        story = Story(Console(highlight=False))
        story.tell()
        if story.faults:
            raise CommandError("The demo went wrong: " + "; ".join(story.faults))
