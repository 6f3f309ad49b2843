"""The one place where a context is held against a stage's schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fluxio.context import Context
from fluxio.errors import ValidationError
from fluxio.nodes import Schema, Stage

# Messages of these pydantic error types come from user code and may repeat the input.
_FREE_TEXT = frozenset({"value_error", "assertion_error"})


def validate(stage: Stage, schema: Schema | None, context: Context, side: str) -> None:
    """Check the values of a context; keys that the schema does not know are ignored.

    Raises:
        ValidationError: names the stage and the fields and never shows an input value.
    """
    if schema is None:
        return
    try:
        schema.model_validate(dict(context))
    except Exception as problem:  # noqa: BLE001 - a schema may raise what it likes
        fields = _fields(problem)
    else:
        return
    listed = "; ".join(f"{name}: {reason}" for name, reason in fields.items())
    raise ValidationError(
        f"The {side} of stage {stage.name!r} does not fit {_title(schema)}: {listed}",
        stage=stage.name,
        fields=fields,
    )


def _fields(problem: Exception) -> Mapping[str, str]:
    errors = getattr(problem, "errors", None)
    listed = errors() if callable(errors) else None
    if not isinstance(listed, Iterable):
        return {"(context)": type(problem).__name__}
    return {
        ".".join(str(part) for part in error.get("loc", ())) or "(context)": _reason(error)
        for error in listed
    }


def _reason(error: Mapping[str, Any]) -> str:
    kind = str(error.get("type", "invalid"))
    return kind if kind in _FREE_TEXT else str(error.get("msg", kind))


def _title(schema: Schema) -> str:
    return getattr(schema, "__name__", None) or type(schema).__name__
