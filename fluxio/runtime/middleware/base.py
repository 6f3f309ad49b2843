"""The base of all middleware: code that stands around every attempt of a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod

from fluxio.context import Context
from fluxio.nodes import Send, Stage
from fluxio.types import Next


class Middleware(ABC):
    """Stands around stages and may change an attempt's fate.

    One object serves all stages of a pipeline and many runs at once, so what it remembers it must
    keep apart by stage. `fluxio.current_step()` tells run id, step key and attempt.
    """

    @abstractmethod
    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
        """Return `await next(ctx)`, or something else, or raise; `next` may be called again."""
