"""The one place where a context is held against a stage's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fluxio.context import Context
from fluxio.errors import ValidationError
from fluxio.nodes import Schema, Stage

# What pydantic says of types of errors, as far as it always says the same. The words of an error
# itself are never passed on: they may repeat an input, also where a validator borrows such a type.
_REASONS: Final[Mapping[str, str]] = {
    "recursion_loop": "Recursion error - cyclic reference detected",
    "missing": "Field required",
    "extra_forbidden": "Extra inputs are not permitted",
    "invalid_key": "Keys should be strings",
    "none_required": "Input should be None",
    "finite_number": "Input should be a finite number",
    "iterable_type": "Input should be iterable",
    "string_type": "Input should be a valid string",
    "string_unicode": "Input should be a valid string in unicode",
    "string_not_ascii": "String should contain only ASCII characters",
    "dict_type": "Input should be a valid dictionary",
    "list_type": "Input should be a valid list",
    "deque_type": "Input should be a valid deque",
    "tuple_type": "Input should be a valid tuple",
    "set_type": "Input should be a valid set",
    "set_item_not_hashable": "Set items should be hashable",
    "bool_type": "Input should be a valid boolean",
    "bool_parsing": "Input should be a valid boolean, unable to interpret input",
    "int_type": "Input should be a valid integer",
    "int_parsing": "Input should be a valid integer, unable to parse string as an integer",
    "int_parsing_size": "Unable to parse input string as an integer, exceeded maximum size",
    "int_from_float": "Input should be a valid integer, got a number with a fractional part",
    "float_type": "Input should be a valid number",
    "float_parsing": "Input should be a valid number, unable to parse string as a number",
    "bytes_type": "Input should be a valid bytes",
    "date_type": "Input should be a valid date",
    "date_from_datetime_inexact": "Datetimes provided to dates should have zero time",
    "date_past": "Date should be in the past",
    "date_future": "Date should be in the future",
    "time_type": "Input should be a valid time",
    "datetime_type": "Input should be a valid datetime",
    "datetime_past": "Input should be in the past",
    "datetime_future": "Input should be in the future",
    "timezone_naive": "Input should not have timezone info",
    "timezone_aware": "Input should have timezone info",
    "time_delta_type": "Input should be a valid timedelta",
    "frozen_set_type": "Input should be a valid frozenset",
    "callable_type": "Input should be callable",
    "url_type": "URL input should be a string or URL",
    "uuid_type": "UUID input should be a string, bytes or UUID object",
    "decimal_type": "Decimal input should be an integer, float, string or Decimal object",
    "decimal_parsing": "Input should be a valid decimal",
    "fraction_type": "Fraction input should be an integer, float, string or Fraction object",
    "fraction_parsing": "Input is not a valid fraction",
}


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
    try:
        found = problem.errors()  # type: ignore[attr-defined]
        fields = {_place(error): _reason(error) for error in found if isinstance(error, Mapping)}
    except Exception:  # noqa: BLE001 - not every error of a schema has them, and in this form
        fields = {}
    return fields or {"(context)": type(problem).__name__}


def _place(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error.get("loc", ())) or "(context)"


def _reason(error: Mapping[str, Any]) -> str:
    kind = str(error.get("type", "invalid"))
    return _REASONS.get(kind, kind)


def _title(schema: Schema) -> str:
    return getattr(schema, "__name__", None) or type(schema).__name__
