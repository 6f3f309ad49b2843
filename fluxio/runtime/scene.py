"""What an execution works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fluxio.runtime.announcer import Announcer
from fluxio.runtime.environment import Clock
from fluxio.runtime.executor import Executor
from fluxio.runtime.recorder import Recorder
from fluxio.runtime.step import ProgressSink
from fluxio.runtime.stopping import StopSign

ChunkSink = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What an execution works with.

    `recorder` is None when the pipeline is not durable, `chunks` when nobody reads the stream.
    """

    run_id: str
    executor: Executor
    announcer: Announcer
    clock: Clock
    recorder: Recorder | None = None
    chunks: ChunkSink | None = None
    report: ProgressSink | None = None
    debugging: bool = False
    stop: StopSign = field(default_factory=StopSign)
