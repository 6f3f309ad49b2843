"""The types that users add to the closed table, known to the whole process by stable names.

A stored text names a type by its registered name only. Nothing is ever imported because of a text:
a name that nobody registered is an error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType, NoneType
from typing import Any, TypeVar, overload

from fluxio.codec.fields import automatic_form
from fluxio.codec.scalars import LEAVES
from fluxio.codec.secret import Secret
from fluxio.errors import ConfigurationError
from fluxio.surroundings import set_up

T = TypeVar("T")

USER_TAG = "$:"
"""What the tag of every registered type starts with, so that it never meets one of our own."""

CONTAINERS: frozenset[type] = frozenset({dict, list, tuple, set, frozenset, Secret})
CLOSED_TYPES: frozenset[type] = CONTAINERS | LEAVES.keys() | {NoneType, bool, int, float, str}
"""The types the codec knows by itself; they cannot be registered again."""

_NAME = re.compile(r"[!#-\[\]-~]{1,200}")  # printable ASCII but space, quote and backslash


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """One registered type: its stable name, its class, and both directions.

    `subclasses` says that instances of subclasses are stored under this name too. `has_fields` says
    that the stored form was made from the fields of the class. `stand_in` is a class whose
    instances are stored under this name as well, and may be what `decode` gives.
    """

    name: str
    cls: type[Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    subclasses: bool
    has_fields: bool
    stand_in: type[Any] | None = None

    @property
    def tag(self) -> str:
        """What marks the type in a stored text."""
        return USER_TAG + self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Types:
    """All registered types at one moment; a new registration makes a new object."""

    by_class: Mapping[type, Registration] = field(default_factory=dict)
    by_name: Mapping[str, Registration] = field(default_factory=dict)
    advice: Mapping[type, str] = field(default_factory=dict)

    def find(self, cls: type) -> Registration | None:
        """The registration of exactly `cls`, or of the nearest base that covers subclasses."""
        found = self.by_class.get(cls)
        if found is None:
            for base in cls.__mro__[1:]:
                found = self.by_class.get(base)
                if found is not None and found.subclasses:
                    return found
            return None
        return found

    def remedy(self, cls: type) -> str | None:
        """What to put into a context instead of an instance of `cls`, if somebody has said."""
        return next((self.advice[base] for base in cls.__mro__ if base in self.advice), None)

    def refer(self, text: str) -> bool:
        """Whether a stored text may refer to something that is kept elsewhere, and can change."""
        return any(
            f'"{item.tag}":' in text for item in self.by_name.values() if item.stand_in is not None
        )


_lock = threading.Lock()
_types = Types()


def current_types() -> Types:
    """The types registered right now. Reading takes no lock."""
    set_up()
    return _types


def registered_types() -> Mapping[str, type[Any]]:
    """The registered classes by name, as they are now."""
    return MappingProxyType({name: item.cls for name, item in current_types().by_name.items()})


@overload
def register_type(
    cls: type[T],
    /,
    *,
    name: str | None = None,
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    subclasses: bool = False,
    stand_in: type[Any] | None = None,
) -> type[T]: ...


@overload
def register_type(
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    subclasses: bool = False,
    stand_in: type[Any] | None = None,
) -> Callable[[type[T]], type[T]]: ...


def register_type(
    cls: type[Any] | None = None,
    /,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    subclasses: bool = False,
    stand_in: type[Any] | None = None,
) -> Any:
    """Let contexts hold instances of a class; give the class back, so it works as a decorator.

    Args:
        cls: the class. Left out, a decorator is returned.
        name: what stored texts call it, for as long as they are to be read; printable ASCII without
            spaces. By default module and qualified name, which ties stored runs to that place.
        encode: gives values the codec knows (or registered objects) for an instance.
        decode: gives the instance for what `encode` gave. Both are left out together: then enums,
            dataclasses, attrs classes, pydantic models and named tuples are stored field by field
            and rebuilt without calling ``__init__``.
        subclasses: store instances of unregistered subclasses under this name too; needs `encode`
            and `decode`, which then have to keep the classes apart.
        stand_in: for objects that are kept elsewhere, the class of references to them. `decode` may
            give a reference instead of the object, and `encode` has to take both.

    Raises:
        ConfigurationError: the class or the name is taken, the codec knows the class by itself, the
            name is not usable, or the class has no fields to go by.
    """

    def register(cls: type[T]) -> type[T]:
        registration = _registration(cls, name, encode, decode, subclasses)
        _add(replace(registration, stand_in=stand_in))
        return cls

    return register if cls is None else register(cls)


def advise(cls: type[Any], remedy: str) -> None:
    """Say what to put into a context instead of instances of a class and of its subclasses.

    For classes that nobody should register. `remedy` is the sentence that ends the refusal.
    """
    global _types
    with _lock:
        _types = replace(_types, advice={**_types.advice, cls: remedy})


@contextmanager
def isolated_types() -> Iterator[None]:
    """Forget on leaving every type registered inside: for tests. It acts on the whole process."""
    global _types
    before = current_types()
    try:
        yield
    finally:
        with _lock:
            _types = before


def _registration(
    cls: type[Any],
    name: str | None,
    encode: Callable[[Any], Any] | None,
    decode: Callable[[Any], Any] | None,
    subclasses: bool,
) -> Registration:
    if not isinstance(cls, type):
        raise ConfigurationError(
            f"register_type takes a class, not {type(cls).__name__}. Write @register_type above a "
            "class, or register_type(cls, name=...)."
        )
    if cls in CLOSED_TYPES or cls is object:
        raise ConfigurationError(
            f"{cls.__qualname__} cannot be registered: its stored form is fixed. "
            "Register a class of your own."
        )
    stored_name = f"{cls.__module__}.{cls.__qualname__}" if name is None else name
    if type(stored_name) is not str or not _NAME.fullmatch(stored_name):
        raise ConfigurationError(
            f"{stored_name!r} cannot name a registered type. "
            "Use 1 to 200 printable ASCII characters without spaces, quotes and backslashes."
        )
    if (encode is None) is not (decode is None):
        raise ConfigurationError(
            f"{cls.__qualname__} was registered with one direction only. "
            "Give encode= and decode= together, or neither."
        )
    if encode is not None and decode is not None:
        return Registration(
            name=stored_name,
            cls=cls,
            encode=encode,
            decode=decode,
            subclasses=subclasses,
            has_fields=False,
        )
    return _automatic_registration(cls, stored_name, subclasses)


def _automatic_registration(cls: type[Any], name: str, subclasses: bool) -> Registration:
    form = automatic_form(cls)
    if form is None:
        raise ConfigurationError(
            f"{cls.__qualname__} is no enum, dataclass, attrs class, pydantic model or named tuple "
            "without a builtin base, so its state is unknown. Use "
            f"register_type({cls.__name__}, name={name!r}, encode=..., decode=...)."
        )
    if subclasses:
        raise ConfigurationError(
            f"{cls.__qualname__} was registered with subclasses=True but without encode= and "
            "decode=, so its subclasses would come back as the base. Give both, or register each."
        )
    return Registration(
        name=name,
        cls=cls,
        encode=form.encode,
        decode=form.decode,
        subclasses=False,
        has_fields=True,
    )


def _add(registration: Registration) -> None:
    global _types
    cls, name = registration.cls, registration.name
    with _lock:
        taken = _types.by_class.get(cls)
        if taken is not None:
            raise ConfigurationError(
                f"{cls.__qualname__} is registered already, as {taken.name!r}. Register it once."
            )
        namesake = _types.by_name.get(name)
        if namesake is not None:
            other = namesake.cls
            raise ConfigurationError(
                f"The name {name!r} is taken by {other.__module__}.{other.__qualname__}. "
                "Give name= another value."
            )
        stored = {cls: registration}
        if registration.stand_in is not None:
            stored[registration.stand_in] = registration
        _types = replace(
            _types,
            by_class={**_types.by_class, **stored},
            by_name={**_types.by_name, name: registration},
        )
