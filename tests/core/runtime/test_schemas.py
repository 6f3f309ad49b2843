"""A context that does not fit a stage's schema is refused, and what does not fit is not shown."""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from fluxio import Context, Parallel, Pipeline, ValidationError, stage


def mark(ctx: Context) -> Context:
    return ctx.set("x", True)


class Order(BaseModel):
    total: int


async def test_schemas_are_checked_for_linear_stages_and_branches_alike() -> None:
    checked = stage(input_schema=Order, name="checked")(mark)
    promising = stage(output_schema=Order, name="promising")(mark)
    for nodes in ([checked], [Parallel([checked])]):
        assert await Pipeline(nodes).invoke({"total": 3, "extra": "ignored"})
        with pytest.raises(ValidationError, match="input of stage 'checked'") as caught:
            await Pipeline(nodes).invoke({"total": "hunter2"})
        assert list(caught.value.fields) == ["total"]
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError, match="output of stage 'promising'"):
        await Pipeline([promising]).invoke({})


class Cash(BaseModel):
    kind: Literal["cash"]


class Card(BaseModel):
    kind: Literal["card"]


class Payment(BaseModel):
    means: Cash | Card = Field(discriminator="kind")


class Ticket(BaseModel):
    number: UUID


class Refused(BaseModel):
    card: str
    type_of_error: ClassVar[Any] = "card_blocked"

    @field_validator("card")
    @classmethod
    def refuse(cls, value: str) -> str:
        raise PydanticCustomError(cls.type_of_error, "card {card} is blocked", {"card": value})


class Disguised(Refused):
    type_of_error: ClassVar[Any] = "missing"


@pytest.mark.security(16)
@pytest.mark.parametrize(
    ("schema", "values", "reason"),
    [
        (Payment, {"means": {"kind": "zebra"}}, "means: union_tag_invalid"),
        (Ticket, {"number": "zebra"}, "number: uuid_parsing"),
        (Refused, {"card": "zebra"}, "card: card_blocked"),
        (Disguised, {"card": "zebra"}, "card: Field required"),
        (Order, {}, "total: Field required"),
        (Order, {"total": "zebra"}, "total: Input should be a valid integer, unable to parse"),
    ],
)
async def test_what_does_not_fit_a_schema_is_never_shown(
    schema: type[BaseModel], values: dict[str, Any], reason: str
) -> None:
    checked = stage(input_schema=schema, name="checked")(mark)
    with pytest.raises(
        ValidationError, match=f"does not fit {schema.__name__}: {reason}"
    ) as caught:
        await Pipeline([checked]).invoke(values)
    assert "z" not in str(caught.value)
    assert "z" not in str(caught.value.fields)
