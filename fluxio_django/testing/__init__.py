"""What tests in a Django project need: runs at once, a clock to move, crashes, assertions.

With pytest these are fixtures; for `django.test.TestCase` there is `PipelineTestMixin`.
"""

from fluxio_django.testing.clock import DurableClock
from fluxio_django.testing.inline import InlineRuns
from fluxio_django.testing.looking import arecorded, every_crash_sync, recorded
from fluxio_django.testing.mixin import PipelineTestMixin

__all__ = [
    "DurableClock",
    "InlineRuns",
    "PipelineTestMixin",
    "arecorded",
    "every_crash_sync",
    "recorded",
]
