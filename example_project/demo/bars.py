"""Shows the steps of an import as bars."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from example_project.demo import child


class Bars:
    """One bar for each step that has begun; moves while it is entered as a context manager."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, progress: child.Progress) -> None:
        """Move the bar of a step."""
        if progress.step not in self._tasks:
            self._tasks[progress.step] = self._bars.add_task(progress.step, total=None)
        task = self._tasks[progress.step]
        if progress.is_recorded:
            self._bars.update(task, completed=1, total=1)
        elif progress.total:
            self._bars.update(task, completed=progress.done, total=progress.total)
