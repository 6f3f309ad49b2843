"""What pytest's fixtures give, for test classes in the style of unittest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from unittest import TestCase

from fluxio.pipeline import Pipeline
from fluxio.testing.recorded import Recorded
from fluxio.testing.survivals import Survival
from fluxio_django.testing.clock import DurableClock
from fluxio_django.testing.inline import InlineRuns
from fluxio_django.testing.looking import every_crash_sync, recorded


class PipelineTestMixin(TestCase):
    """Put it before `django.test.TestCase`: enqueued runs are then executed as in `InlineRuns`.

    Async test methods are fine as well: Django runs them inside the same transaction.
    """

    def setUp(self) -> None:
        """Have what is enqueued executed within the test."""
        super().setUp()
        self.inline = self.enterContext(InlineRuns())

    @cached_property
    def clock(self) -> DurableClock:
        """The clock of everything that fluxio does, from the moment this is first asked for."""
        return self.enterContext(DurableClock())

    def recorded(self, run_id: str) -> Recorded:
        """The rows of a run in the database, with assertions."""
        return recorded(run_id)

    def every_crash(
        self, pipeline: Pipeline, initial: Mapping[str, Any] | None = None
    ) -> Iterator[Survival]:
        """Run a pipeline once for each place where it can die, and resume it each time."""
        return every_crash_sync(pipeline, initial)
