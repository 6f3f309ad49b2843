"""Stored forms that follow from a class: enums, dataclasses, attrs, pydantic, named tuples.

An object is rebuilt field by field without calling ``__init__``, so what comes back equals what
went in even if the initialiser computes, converts or has effects. Fields that a class has gained
since are filled from their defaults; a field it has lost is an error.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum, Flag
from types import MemberDescriptorType
from typing import Any

from fluxio.codec.paths import Refusal

Default = Callable[[Any], Any]
"""Makes the value of a missing field, given the object as far as it is built."""

# typing notes the parameters of a generic object there; attrs keeps a computed hash.
_IGNORED = frozenset({"__orig_class__", "_attrs_cached_hash"})


class Attributes(dict[str, Any]):
    """The fields of one object by name, so that their key paths read ``.name``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How an object becomes encodable values, and an object again."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def automatic_form(cls: type[Any]) -> Form | None:
    """The form that follows from the fields of a class; None if its state cannot be known."""
    if issubclass(cls, Enum):
        return _flag_form(cls) if issubclass(cls, Flag) else _enum_form(cls)
    if issubclass(cls, tuple) and type(getattr(cls, "_fields", None)) is tuple:
        return _named_tuple_form(cls)
    if any(base.__module__ == "builtins" for base in cls.__mro__[:-1]):
        return None  # the content of a builtin base is in no field
    pydantic = sys.modules.get("pydantic")  # imported already wherever a model is defined
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return _pydantic_form(cls)
    attributes = getattr(cls, "__attrs_attrs__", None)
    if attributes is not None:
        return _fields_form(cls, _attrs_defaults(attributes))
    if dataclasses.is_dataclass(cls):
        return _fields_form(cls, _dataclass_defaults(cls))
    return None


def _enum_form(cls: type[Enum]) -> Form:
    # By name, not by value: a value may be of any type, and a name is what the code refers to.
    def decode(payload: Any) -> Enum:
        members = cls.__members__
        if type(payload) is not str or payload not in members:
            raise Refusal(f"is no member of {cls.__qualname__} any more. Put the member back.")
        return members[payload]

    return Form(encode=lambda member: member.name, decode=decode)


def _flag_form(cls: type[Flag]) -> Form:
    return Form(encode=lambda member: member.value, decode=cls)


def _named_tuple_form(cls: type[Any]) -> Form:
    fields: dict[str, Default | None] = dict.fromkeys(cls._fields)
    for name, value in cls._field_defaults.items():
        fields[name] = functools.partial(_constant, value)

    def encode(value: Any) -> Attributes:
        _refuse_strays(value, (), ())
        return Attributes(zip(fields, value, strict=True))

    def decode(payload: Any) -> Any:
        return tuple.__new__(cls, [item for _, item in _complete(cls, fields, payload)])

    return Form(encode=encode, decode=decode)


# --- dataclasses and attrs -----------------------------------------------------------------------


def _constant(value: Any, instance: Any) -> Any:
    return value


def _made(factory: Callable[[], Any], instance: Any) -> Any:
    return factory()


def _dataclass_defaults(cls: type[Any]) -> dict[str, Default | None]:
    defaults: dict[str, Default | None] = {}
    for field in dataclasses.fields(cls):
        defaults[field.name] = None
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = functools.partial(_constant, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = functools.partial(_made, field.default_factory)
    return defaults


def _attrs_defaults(attributes: Iterable[Any]) -> dict[str, Default | None]:
    attr = importlib.import_module("attr")  # present, or the class would not be
    defaults: dict[str, Default | None] = {}
    for attribute in attributes:
        default = attribute.default
        if default is attr.NOTHING:
            defaults[attribute.name] = None
        elif not isinstance(default, attr.Factory):
            defaults[attribute.name] = functools.partial(_constant, default)
        elif default.takes_self:
            defaults[attribute.name] = default.factory
        else:
            defaults[attribute.name] = functools.partial(_made, default.factory)
    return defaults


def _fields_form(cls: type[Any], fields: Mapping[str, Default | None]) -> Form:
    ignored = _IGNORED | fields.keys() | _cached_properties(cls)
    slots = [slot for slot in _slots(cls) if slot.__name__ not in ignored]
    # attrs' own __hash__ reads its cache without looking whether it is there.
    hash_code = getattr(cls.__hash__, "__code__", None)
    caches_hash = hash_code is not None and "_attrs_cached_hash" in hash_code.co_names

    def encode(value: Any) -> Attributes:
        _refuse_strays(value, slots, ignored)
        return Attributes((name, getattr(value, name)) for name in fields)

    def decode(payload: Any) -> Any:
        instance = object.__new__(cls)
        for name, value in _complete(cls, fields, payload, instance):
            object.__setattr__(instance, name, value)
        if caches_hash:
            object.__setattr__(instance, "_attrs_cached_hash", None)
        return instance

    return Form(encode=encode, decode=decode)


def _stored(cls: type[Any], payload: Any) -> dict[str, Any]:
    if type(payload) is not dict:
        raise Refusal(f"holds no fields of a {cls.__qualname__}. It is damaged.")
    return payload


def _complete(
    cls: type[Any], fields: Mapping[str, Default | None], payload: Any, instance: Any = None
) -> Iterator[tuple[str, Any]]:
    """The stored fields in order, the missing ones made from their defaults.

    It is lazy, so that a default may look at the fields already set on `instance`.
    """
    for name in _stored(cls, payload):
        if name not in fields:
            raise _lost_field(cls, name)
    for name, default in fields.items():
        if name in payload:
            yield name, payload[name]
        elif default is not None:
            yield name, default(instance)
        else:
            raise _new_field(cls, name)


def _lost_field(cls: type[Any], name: str) -> Refusal:
    return Refusal(
        f"has the field {name[:60]!r}, which {cls.__qualname__} does not have. "
        "Put the field back, or register the class with encode= and decode= of your own."
    )


def _new_field(cls: type[Any], name: str) -> Refusal:
    return Refusal(
        f"was stored without the field {name!r} of {cls.__qualname__}. Give the field a default."
    )


def _refuse_strays(value: Any, slots: Iterable[MemberDescriptorType], known: Iterable[str]) -> None:
    strays = [name for name in getattr(value, "__dict__", ()) if name not in known]
    strays += [slot.__name__ for slot in slots if _is_set(slot, value)]
    if strays:
        raise Refusal(
            f"has the attribute {strays[0]!r}, which is no field of {type(value).__qualname__} "
            "and would be lost. Make it a field, or register the class with encode= and decode=."
        )


def _slots(cls: type[Any]) -> list[MemberDescriptorType]:
    return [
        item
        for base in cls.__mro__
        for item in vars(base).values()
        if isinstance(item, MemberDescriptorType)
    ]


def _is_set(slot: MemberDescriptorType, value: Any) -> bool:
    try:
        slot.__get__(value, type(value))
    except AttributeError:
        return False
    return True


def _cached_properties(cls: type[Any]) -> frozenset[str]:
    return frozenset(
        name
        for base in cls.__mro__
        for name, item in vars(base).items()
        if isinstance(item, functools.cached_property)
    )


# --- pydantic ------------------------------------------------------------------------------------


def _pydantic_form(cls: type[Any]) -> Form:
    def encode(value: Any) -> Attributes:
        # Looked up late: a model with forward references has its fields only after a rebuild.
        names = cls.model_fields
        attributes = Attributes((name, value.__dict__[name]) for name in names)
        if value.__pydantic_fields_set__ != names.keys():
            attributes["__pydantic_fields_set__"] = sorted(value.__pydantic_fields_set__)
        if value.__pydantic_extra__:
            attributes["__pydantic_extra__"] = value.__pydantic_extra__
        if value.__pydantic_private__:
            attributes["__pydantic_private__"] = value.__pydantic_private__
        return attributes

    def decode(payload: Any) -> Any:
        _stored(cls, payload)
        fields_set = set(payload.pop("__pydantic_fields_set__", payload.keys() & cls.model_fields))
        extra = payload.pop("__pydantic_extra__", {})
        private = payload.pop("__pydantic_private__", {})
        instance: Any = object.__new__(cls)
        instance.__setstate__(
            {
                "__dict__": _model_values(cls, payload),
                "__pydantic_fields_set__": fields_set,
                "__pydantic_extra__": extra if cls.model_config.get("extra") == "allow" else None,
                "__pydantic_private__": _private_values(cls, private),
            }
        )
        return instance

    return Form(encode=encode, decode=decode)


def _model_values(cls: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    for name in stored:
        if name not in cls.model_fields:
            raise _lost_field(cls, name)
    values: dict[str, Any] = {}
    for name, field in cls.model_fields.items():
        if name in stored:
            values[name] = stored[name]
        elif field.is_required():
            raise _new_field(cls, name)
        else:
            values[name] = field.get_default(call_default_factory=True)
    return values


def _private_values(cls: type[Any], stored: dict[str, Any]) -> dict[str, Any] | None:
    if not cls.__private_attributes__:
        return None
    undefined = sys.modules["pydantic_core"].PydanticUndefined
    defaults: dict[str, Any] = {
        name: field.get_default() for name, field in cls.__private_attributes__.items()
    }
    return {name: value for name, value in (defaults | stored).items() if value is not undefined}
