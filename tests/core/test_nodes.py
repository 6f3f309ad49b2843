"""How stages are written down, and what is refused while they are."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxio import Context, NodeType, Parallel, RetryPolicy, Send, Stage, stage


def plain(ctx: Context) -> Context:
    return ctx


async def coroutine(ctx: Context) -> Context:
    return ctx


async def chunks(ctx: Context) -> AsyncIterator[int]:
    yield 1


class Callable_:
    async def __call__(self, ctx: Context) -> Context:
        return ctx


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (plain, NodeType.SYNC),
        (coroutine, NodeType.ASYNC),
        (chunks, NodeType.STREAM),
        (functools.partial(coroutine), NodeType.ASYNC),
        (functools.partial(chunks), NodeType.STREAM),
        (Callable_(), NodeType.ASYNC),
        (lambda ctx: ctx, NodeType.SYNC),
    ],
)
def test_the_kind_is_detected_from_the_definition(function: Any, kind: NodeType) -> None:
    assert stage(function).node_type is kind
    assert stage(node_type=kind)(function).node_type is kind


@pytest.mark.parametrize(
    ("function", "kind"),
    [(plain, NodeType.ASYNC), (coroutine, NodeType.SYNC), (coroutine, NodeType.STREAM)],
)
def test_a_kind_that_does_not_fit_is_refused(function: Any, kind: NodeType) -> None:
    with pytest.raises(TypeError, match="does not fit"):
        stage(node_type=kind)(function)


def test_a_plain_generator_is_refused_with_the_remedy() -> None:
    def generator(ctx: Context) -> Any:
        yield 1

    with pytest.raises(TypeError, match="async def"):
        stage(generator)


def test_decorating_twice_makes_two_stages_and_leaves_the_function_alone() -> None:
    first, second = stage(plain), stage(timeout=5)(plain)
    assert first is not second
    assert first != second
    assert (first.timeout, second.timeout) == (None, 5)
    assert first.function is plain
    assert plain(Context.create({"a": 1}))["a"] == 1
    assert not vars(plain)


def test_a_stage_can_be_decorated_again_with_other_options() -> None:
    assert stage(timeout=2)(stage(timeout=1)(plain)).timeout == 2


def test_a_stage_is_called_like_its_function() -> None:
    assert stage(plain)(Context.create({"a": 1}))["a"] == 1


def test_a_stage_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        stage(plain).timeout = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "3"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"reads": "total"}, TypeError),
        ({"writes": [1]}, TypeError),
        ({"input_schema": dict}, TypeError),
        ({"retry": 0}, ValueError),
        ({"retry": "twice"}, TypeError),
        ({"name": "a/b"}, ValueError),
        ({"name": "a#2"}, ValueError),
        ({"name": "a\n"}, ValueError),
    ],
)
def test_options_that_cannot_work_are_refused_while_decorating(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        stage(**options)(plain)


@pytest.mark.parametrize("function", [coroutine, chunks])
def test_a_transactional_stage_has_to_be_a_plain_def(function: Any) -> None:
    with pytest.raises(TypeError, match="plain def"):
        stage(transactional=True)(function)


def test_only_functions_become_stages() -> None:
    with pytest.raises(TypeError, match="cannot be called"):
        stage(5)  # type: ignore[call-overload]


def test_a_number_of_attempts_is_a_retry_policy() -> None:
    assert stage(retry=4)(plain).retry == RetryPolicy(max_attempts=4)


@pytest.mark.parametrize(
    "options",
    [{"max_attempts": 0}, {"base_delay": -1}, {"backoff": "linear"}, {"base_delay": float("nan")}],
)
def test_a_retry_policy_refuses_numbers_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"attempts|base_delay|backoff"):
        RetryPolicy(**options)
    with pytest.raises(TypeError):
        RetryPolicy(max_attempts=True)
    with pytest.raises(TypeError, match="retry_if"):
        RetryPolicy(retry_if=OSError("not a predicate"))  # type: ignore[arg-type]


def test_send_takes_a_name_and_a_mapping() -> None:
    assert Send("express").patch == {}
    with pytest.raises(TypeError):
        Send(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Send("express", [1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="1 is int"):
        Send("express", {"fine": 1, 1: 2})  # type: ignore[dict-item]


def test_reprs_name_the_thing() -> None:
    assert repr(stage(plain)) == "<Stage plain (sync)>"
    assert "2" in repr(Parallel([plain, coroutine]))
    assert isinstance(stage(plain), Stage)
