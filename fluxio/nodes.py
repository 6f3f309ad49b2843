"""What users write down: stages, branches, routes. Frozen definitions, no behaviour."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Literal, Protocol, overload

from fluxio.context import Context
from fluxio.options import check_number, check_whole_number


class NodeType(StrEnum):
    """How a stage's function is called."""

    ASYNC = "async"
    SYNC = "sync"
    STREAM = "stream"


class ForkMode(StrEnum):
    """Whether the stage after a Parallel waits for its branches."""

    PARALLEL = "parallel"
    FIRE_FORGET = "fire_forget"


Backoff = Literal["fixed", "exponential", "jitter"]

StageFunction = Callable[
    [Context], "Context | Send | Awaitable[Context | Send] | AsyncIterator[Any]"
]


class Schema(Protocol):
    """Anything with pydantic's `model_validate`."""

    def model_validate(self, obj: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often an attempt is repeated, and how long to wait before each repeat.

    `base_delay` is in seconds: the wait itself ("fixed"), the first of a doubling series
    ("exponential"), or the upper bound of a random wait in that series ("jitter", after Brooker,
    "Exponential Backoff And Jitter", 2015). `retry_if`, when given, has the last word on an error
    that is an instance of `exceptions`.
    """

    max_attempts: int = 3
    backoff: Backoff = "exponential"
    base_delay: float = 0.1
    exceptions: tuple[type[Exception], ...] = (Exception,)
    retry_if: Callable[[Exception], bool] | None = None

    def __post_init__(self) -> None:
        check_whole_number("max_attempts", self.max_attempts, "tries")
        if self.backoff not in ("fixed", "exponential", "jitter"):
            raise ValueError(
                f"Unknown backoff {self.backoff!r}; choose fixed, exponential or jitter."
            )
        check_number("base_delay", self.base_delay, "seconds")
        if not 0 <= self.base_delay < math.inf:
            raise ValueError(f"base_delay is {self.base_delay}; give 0 or more seconds.")
        if self.retry_if is not None and not callable(self.retry_if):
            raise TypeError(
                f"retry_if takes an error and says yes or no; {self.retry_if!r} cannot."
            )


@dataclass(frozen=True, slots=True)
class Send:
    """A router's answer: the name of the route to take, and values to set on the way."""

    route: str
    patch: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.route, str):
            raise TypeError(f"Send takes the name of a route; {self.route!r} is no str.")
        if not isinstance(self.patch, Mapping):
            raise TypeError(f"Send({self.route!r}, ...) takes a mapping of values to set.")
        for key in self.patch:
            if not isinstance(key, str):
                raise TypeError(f"Context keys are str; {key!r} is {type(key).__name__}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One unit of work: a function from `Context` to `Context` (or `Send`) and its options.

    Calling a stage calls its function, untouched. `timeout` is in seconds for each attempt. `reads`
    and `writes` are the declared keys, None where nothing was declared. `code_version` replaces the
    function's code in the pipeline's version. Two stages are equal only when they are the same
    object.
    """

    name: str
    function: Callable[..., Any]
    node_type: NodeType
    reads: frozenset[str] | None = None
    writes: frozenset[str] | None = None
    input_schema: Schema | None = None
    output_schema: Schema | None = None
    timeout: float | None = None
    transactional: bool = False
    retry: RetryPolicy | None = None
    code_version: str | None = None

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, for `inspect` and tools built on it."""
        return self.function

    def __call__(self, ctx: Context) -> Any:
        return self.function(ctx)

    def __repr__(self) -> str:
        return f"<Stage {self.name} ({self.node_type})>"


class Nestable:
    """The face that a pipeline turns to the compiler when it stands inside another one."""

    nodes: Sequence[Any]
    name: str | None
    middleware: tuple[Any, ...]
    auto_parallel: bool


class Parallel:
    """Branches that run side by side; each is a stage, a list of nodes, or a pipeline.

    Args:
        branches: at least one branch.
        mode: whether the next stage waits (`PARALLEL`) or not (`FIRE_FORGET`).
        name: the first part of the step keys inside; "parallel" where none is given.
    """

    __slots__ = ("branches", "mode", "name")

    def __init__(
        self,
        branches: Sequence[Any],
        mode: ForkMode = ForkMode.PARALLEL,
        name: str | None = None,
    ) -> None:
        self.branches = tuple(branches)
        self.mode = ForkMode(mode)
        self.name = name

    def __repr__(self) -> str:
        return f"<Parallel {self.name or ''} of {len(self.branches)} ({self.mode})>"


@overload
def stage(function: Callable[..., Any], /) -> Stage: ...


@overload
def stage(
    *,
    node_type: NodeType | None = None,
    reads: Sequence[str] | None = None,
    writes: Sequence[str] | None = None,
    input_schema: Any = None,
    output_schema: Any = None,
    timeout: float | None = None,
    transactional: bool = False,
    retry: RetryPolicy | int | None = None,
    version: str | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Any]], Stage]: ...


def stage(
    function: Callable[..., Any] | None = None,
    /,
    *,
    node_type: NodeType | None = None,
    reads: Sequence[str] | None = None,
    writes: Sequence[str] | None = None,
    input_schema: Any = None,
    output_schema: Any = None,
    timeout: float | None = None,
    transactional: bool = False,
    retry: RetryPolicy | int | None = None,
    version: str | None = None,
    name: str | None = None,
) -> Stage | Callable[[Callable[..., Any]], Stage]:
    """Turn a function into a stage; works bare (`@stage`) and with options (`@stage(timeout=5)`).

    Args:
        node_type: how the function is called; detected where None (`async def` is ASYNC, an async
            generator is STREAM, a plain `def` is SYNC).
        reads: the keys the stage reads, for checks and auto-parallel.
        writes: the keys the stage sets, for checks and auto-parallel.
        input_schema: validates the context before the stage (anything with `model_validate`).
        output_schema: validates the context after it.
        timeout: seconds that one attempt may take.
        transactional: commit the stage's database writes together with its checkpoint (SYNC only).
        retry: a policy, or just how many attempts.
        version: a name that replaces the code part of this stage in the pipeline's version.
        name: the stage's name where the function's own does not serve.

    Raises:
        TypeError: an option does not fit the function.
        ValueError: a number is out of range.
    """

    def decorate(target: Callable[..., Any]) -> Stage:
        plain = target.function if isinstance(target, Stage) else target
        kind = _kind(plain, node_type)
        if transactional and kind is not NodeType.SYNC:
            raise TypeError(
                f"Stage {_name(plain, name)!r} is {kind}; transactional=True needs a plain def, "
                "since a database transaction belongs to one thread."
            )
        return Stage(
            name=_name(plain, name),
            function=plain,
            node_type=kind,
            reads=_keys("reads", reads),
            writes=_keys("writes", writes),
            input_schema=_schema("input_schema", input_schema),
            output_schema=_schema("output_schema", output_schema),
            timeout=_seconds(timeout),
            transactional=transactional,
            retry=_retry(retry),
            code_version=version,
        )

    return decorate if function is None else decorate(function)


def as_stage(value: Stage | Callable[..., Any]) -> Stage:
    """The stage itself, or a bare function turned into one."""
    return value if isinstance(value, Stage) else stage(value)


def _kind(function: Callable[..., Any], wanted: NodeType | None) -> NodeType:
    if not callable(function):
        raise TypeError(f"@stage takes a function; {function!r} cannot be called.")
    found = _detect(function)
    if wanted is not None and NodeType(wanted) is not found:
        raise TypeError(
            f"Stage {_name(function, None)!r} is {found} by its definition; "
            f"node_type={NodeType(wanted)} does not fit. Leave node_type out, or change the def."
        )
    return found


def _detect(function: Callable[..., Any]) -> NodeType:
    plain: Any = function
    while isinstance(plain, partial):
        plain = plain.func
    called = plain if inspect.isroutine(plain) else type(plain).__call__
    for candidate in (plain, called):
        if inspect.isasyncgenfunction(candidate):
            return NodeType.STREAM
        if inspect.iscoroutinefunction(candidate):
            return NodeType.ASYNC
    if inspect.isgeneratorfunction(plain):
        raise TypeError(
            f"Stage {_name(function, None)!r} is a plain generator. "
            "Write `async def` with `yield` for a STREAM stage."
        )
    return NodeType.SYNC


def _name(function: Callable[..., Any], given: str | None) -> str:
    plain: Any = function
    while given is None and isinstance(plain, partial):
        plain = plain.func
    name = given or getattr(plain, "__name__", None) or type(plain).__name__
    name = name.strip("<>")
    if not name or "/" in name or "#" in name or not name.isprintable():
        raise ValueError(f"A stage cannot be named {name!r}: give printable text without / and #.")
    return sys.intern(name)


def _keys(option: str, keys: Sequence[str] | None) -> frozenset[str] | None:
    if keys is None:
        return None
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise TypeError(f"{option} is a list of context keys, e.g. {option}=['total'].")
    return frozenset(keys)


def _schema(option: str, schema: Any) -> Schema | None:
    if schema is None or callable(getattr(schema, "model_validate", None)):
        return schema  # type: ignore[no-any-return]
    raise TypeError(f"{option} needs a model_validate method, as pydantic models have.")


def _retry(retry: RetryPolicy | int | None) -> RetryPolicy | None:
    if isinstance(retry, int):
        return RetryPolicy(max_attempts=retry)
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise TypeError(f"retry is a RetryPolicy, or how many attempts; {retry!r} is neither.")
    return retry


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    check_number("timeout", timeout, "seconds")
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout}; give more than 0 seconds, or None for no limit.")
    return timeout
