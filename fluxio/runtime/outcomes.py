"""What came of a CALL: its writes and its route, or its error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fluxio.context import Context
from fluxio.errors import RoutingError, StageResultError
from fluxio.nodes import Send, Stage
from fluxio.program import Call
from fluxio.types import StageMiddleware


class Succeeded(NamedTuple):
    """A CALL did its work: what it wrote and, for a router, the route it chose."""

    ip: int
    writes: Mapping[str, Any]
    route: str | None
    tries: int
    duration: float


class Failed(NamedTuple):
    """A CALL gave up with this error, after this many tries."""

    ip: int
    error: Exception
    tries: int
    duration: float


Outcome = Succeeded | Failed


def checked_result(stage: Stage, result: Any) -> Context | Send:
    """The result itself, when it is one.

    Raises:
        StageResultError: it is neither a Context nor a Send.
    """
    if isinstance(result, Context | Send):
        return result
    raise StageResultError(
        f"Stage {stage.name!r} returned {_named(result)}. Return the context, or Send(...) from a "
        "router.",
        stage=stage.name,
    )


def checked_return(stage: Stage, middleware: StageMiddleware, result: Any) -> Context | Send:
    """What a middleware made of a stage's result, when it is one.

    Raises:
        StageResultError: it is neither a Context nor a Send.
    """
    if isinstance(result, Context | Send):
        return result
    name = getattr(middleware, "__qualname__", type(middleware).__qualname__)
    raise StageResultError(
        f"Middleware {name} around stage {stage.name!r} returned {_named(result)}. Return what "
        "next(...) gave, or a context or Send made from it.",
        stage=stage.name,
    )


def _named(result: Any) -> str:
    return "None (a missing return?)" if result is None else type(result).__name__


def writes_of(
    call: Call, context: Context, result: Context | Send
) -> tuple[Mapping[str, Any], str | None]:
    if isinstance(result, Send):
        return dict(result.patch), _route_of(call, result)
    if call.routes is not None:
        raise RoutingError(
            f"Router {call.stage.name!r} returned a context. Return Send(...) with one of its "
            f"routes: {', '.join(call.routes)}.",
            router=call.stage.name,
            route=None,
            known=tuple(call.routes),
        )
    return result.writes_since(context), None


def _route_of(call: Call, send: Send) -> str:
    if call.routes is None:
        raise RoutingError(
            f"Stage {call.stage.name!r} returned Send({send.route!r}), but no dict of routes "
            "follows it. Put {...} right after the stage, or return the context.",
            router=call.stage.name,
            route=send.route,
            known=(),
        )
    if send.route not in call.routes:
        raise RoutingError(
            f"Router {call.stage.name!r} chose {send.route!r}. It knows: {', '.join(call.routes)}.",
            router=call.stage.name,
            route=send.route,
            known=tuple(call.routes),
        )
    return send.route
