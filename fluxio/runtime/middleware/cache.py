"""Answers for a stage with what it wrote before, when it would read the same values again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

from fluxio.codec import DEFAULT_CODEC, Secret
from fluxio.codec.registry import current_types
from fluxio.context import Context
from fluxio.errors import EncodingError, ValidationError
from fluxio.nodes import NodeType, Send, Stage
from fluxio.options import check_number
from fluxio.runtime.cache import CacheStore
from fluxio.runtime.middleware.base import Middleware
from fluxio.runtime.schemas import validate
from fluxio.runtime.step import current_step
from fluxio.types import Next

logger = logging.getLogger(__name__)

# How the codec writes a Secret; no str can hold it, since quotes are escaped there.
_SECRET = DEFAULT_CODEC.encode_value(Secret("")).partition(":")[0].lstrip("{") + ":"

_Flight = asyncio.Future[str | None]


class CacheMiddleware(Middleware):
    """Keeps what a stage wrote (or the `Send` it returned) and sets it again instead of calling it.

    Two calls are the same when pipeline, step, version and the values read are: the declared
    `reads` of the stage, or else all values of its context. A registered type counts by its stored
    form, so a model instance counts by its primary key and not by its fields: declare `reads`, or
    give a `key_fn`. Calls of the same key that meet in one event loop run the stage once; if it
    fails, the next one tries.

    STREAM and transactional stages are always run. So is a stage whose values the codec cannot
    store, whose result holds a `Secret` or a model instance, or does not fit its output schema. A
    store that fails or holds a damaged text is a miss; the log says so.

    Args:
        store: where the texts are kept.
        ttl: seconds that a result is good for; None leaves it to the store.
        key_fn: gives a text that stands for the values read, where not all of them count.

    Raises:
        TypeError: an argument is of another kind than what belongs there.
        ValueError: `ttl` is not more than 0.
    """

    def __init__(
        self,
        store: CacheStore,
        ttl: float | None = None,
        key_fn: Callable[[Stage, Context], str] | None = None,
    ) -> None:
        if not isinstance(store, CacheStore):
            raise TypeError(
                f"store is {store!r}; give an instance of CacheStore, e.g. InMemoryCache()."
            )
        if ttl is not None:
            check_number("ttl", ttl, "seconds")
            if not ttl > 0:
                raise ValueError(f"ttl is {ttl}; give more than 0 seconds, or None for no limit.")
        if key_fn is not None and not callable(key_fn):
            raise TypeError(
                f"key_fn takes a stage and a context and gives a str; {key_fn!r} cannot."
            )
        self._store = store
        self._ttl = ttl
        self._key_fn = key_fn
        # By the id of their loop, which is not given away again: a flight holds on to its loop.
        self._flights: dict[tuple[int, str], _Flight] = {}
        self._told: set[str] = set()

    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
        """Give the kept result, that of a call on its way with the same key, or run the stage."""
        if stage.node_type is NodeType.STREAM or stage.transactional:
            return await next(ctx)
        key = self._key(stage, ctx)
        if key is None:
            return await next(ctx)
        place = (id(asyncio.get_running_loop()), key)
        while (flight := self._flights.get(place)) is not None:
            await asyncio.wait([flight])
            if not flight.cancelled():
                text = flight.result()
                result = None if text is None else self._result(stage, text, ctx)
                return await next(ctx) if result is None else result
        return await self._lead(place, stage, ctx, next)

    async def _lead(
        self, place: tuple[int, str], stage: Stage, ctx: Context, next: Next
    ) -> Context | Send:
        """Find or make the result, and hand its text to those who wait for it."""
        flight: _Flight = asyncio.get_running_loop().create_future()
        self._flights[place] = flight
        try:
            text = await self._load(place[1])
            result = None if text is None else self._result(stage, text, ctx)
            if result is None:
                # With an empty write set the stage's writes can be told from those made before it.
                fresh = await next(ctx.settled())
                text = self._text(stage, ctx, fresh)
                if text is not None:
                    await self._keep(place[1], text)
                result = _carried(ctx, fresh)
        except BaseException:
            flight.cancel()
            raise
        finally:
            del self._flights[place]
        flight.set_result(text)
        return result

    def _key(self, stage: Stage, ctx: Context) -> str | None:
        step = current_step()
        if self._key_fn is not None:
            values = self._key_fn(stage, ctx)
            if not isinstance(values, str):
                raise TypeError(
                    f"The key_fn of CacheMiddleware gave {type(values).__name__} for stage "
                    f"{stage.name!r}. Return a str."
                )
        else:
            names = sorted(ctx if stage.reads is None else stage.reads)
            try:
                values = DEFAULT_CODEC.encode({name: ctx[name] for name in names if name in ctx})
            except EncodingError as error:
                self._tell(stage, f"the codec cannot store {error.path}, which it reads")
                return None
        parts = [step.pipeline, step.key, step.version, stage.name, values]
        return f"fluxio:cache:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"

    def _text(self, stage: Stage, ctx: Context, result: Context | Send) -> str | None:
        """What is kept of a result; None when it must not be."""
        if isinstance(result, Send):
            route, writes = result.route, dict(result.patch)
        else:
            route, writes = None, _writes(ctx, result)
        try:
            if stage.output_schema is not None:
                validate(stage, stage.output_schema, ctx.update(writes), "output")
            text = DEFAULT_CODEC.encode({"route": route, "writes": writes}, "result")
        except ValidationError:
            # The executor refuses it; a kept result would make that last.
            return None
        except EncodingError as error:
            self._tell(stage, f"the codec cannot store {error.path}")
            return None
        if _SECRET in text:
            self._tell(stage, "its result holds a Secret, which a cache would show")
            return None
        if current_types().refer(text):
            self._tell(stage, "its result refers to what is kept elsewhere and may change")
            return None
        return text

    def _result(self, stage: Stage, text: str, ctx: Context) -> Context | Send | None:
        try:
            kept = DEFAULT_CODEC.decode(text, "result")
            route, writes = kept["route"], kept["writes"]
            return ctx.update(writes) if route is None else Send(route, writes)
        except Exception as error:  # noqa: BLE001 - others may write to a shared cache
            logger.warning(
                "A cached result of stage %r cannot be read (%s); the stage runs.",
                stage.name,
                type(error).__name__,
            )
            return None

    async def _load(self, key: str) -> str | None:
        try:
            return await self._store.get(key)
        except Exception as error:
            logger.warning("The cache cannot be read; stages run.", exc_info=error)
            return None

    async def _keep(self, key: str, text: str) -> None:
        try:
            await self._store.set(key, text, self._ttl)
        except Exception as error:
            logger.warning("The cache cannot be written; stages run again.", exc_info=error)

    def _tell(self, stage: Stage, reason: str) -> None:
        # No stage name has a slash in it, so two stages can never get the same name here.
        name = f"{current_step().pipeline}/{stage.name}"
        if name not in self._told:
            self._told.add(name)
            logger.warning("A result of stage %r is not cached: %s.", stage.name, reason)


def _writes(ctx: Context, result: Context) -> dict[str, Any]:
    """What the stage set, also when it returned a context that does not descend from `ctx`."""
    written = result.written
    return {
        key: value
        for key, value in result.items()
        if key in written or key not in ctx or ctx[key] is not value
    }


def _carried(ctx: Context, result: Context | Send) -> Context | Send:
    """The result as if the stage had been given `ctx` with the writes made before it."""
    if isinstance(result, Send) or not ctx.written:
        return result
    return ctx.update(_writes(ctx, result))
