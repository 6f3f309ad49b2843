"""Model instances in contexts: stored as references, fetched afresh for whoever works with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.base import ModelState
from django.utils.functional import LazyObject, Promise

from fluxio.codec import DEFAULT_CODEC, register_type, registered_types
from fluxio.codec.paths import Refusal
from fluxio.codec.registry import advise
from fluxio.errors import EncodingError, FluxioError

STORED_NAME = "django.model"
"""What stored texts call a reference; its items are `model`, `pk` and `using`."""

FORGOTTEN_NAME = "django.forgotten"
"""What stored texts call a value that was masked."""

_FETCHED_AT_ONCE = 500


class ReferenceGoneError(FluxioError):
    """A context refers to a row that is no longer there.

    `path` is the key path of the value, `model` the label of the model, `using` the alias.
    """

    path: str
    model: str
    pk: Any
    using: str


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A row that a context refers to: the label of its model, its primary key, the alias.

    That is what is shown and compared of a model instance; nobody asks the database for it.
    """

    model: str
    pk: Any
    using: str = DEFAULT_DB_ALIAS

    def __str__(self) -> str:
        return f"{self.model} {self.pk!r}"

    def fetch(self) -> models.Model:
        """The instance as it is now; one query.

        Raises:
            ObjectDoesNotExist: the row is gone.
            LookupError: there is no such model any more.
        """
        rows = apps.get_model(self.model)._base_manager.using(self.using)
        found: models.Model = rows.get(pk=self.pk)
        return found

    async def afetch(self) -> models.Model:
        """Do as `fetch`, without keeping the event loop waiting."""
        return await sync_to_async(self.fetch, thread_sensitive=True)()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Stands where a value was that somebody had forgotten; see `fluxio_forget`.

    `number` tells the marks of one row apart.
    """

    number: int


def register_models() -> None:
    """Let contexts hold instances of any model; doing so again changes nothing."""
    if FORGOTTEN_NAME not in registered_types():
        register_type(Forgotten, name=FORGOTTEN_NAME)
    if STORED_NAME not in registered_types():
        register_type(
            models.Model,
            name=STORED_NAME,
            encode=_encode,
            decode=_decode,
            subclasses=True,
            stand_in=ModelReference,
        )


def reference_to(instance: models.Model) -> ModelReference:
    """The reference by which a saved instance is stored.

    Raises:
        Refusal: it is not saved, or its model is not the one that the app registry knows.
    """
    kind = type(instance)
    label = kind._meta.label
    if instance.pk is None or instance._state.adding:
        raise Refusal(
            f"is an unsaved instance of {label}, and a run keeps references to rows. Save it "
            "first, or put the values you need into the context."
        )
    if _model_named(label) is not kind:
        raise Refusal(
            f"is of {kind.__module__}.{kind.__qualname__}, which is not the model installed as "
            f"{label}. Take the instance from the installed model."
        )
    return ModelReference(label, _plain_key(instance), instance._state.db or DEFAULT_DB_ALIAS)


def advise_on_lazy_objects() -> None:
    """Have refusals say what to put into a context instead of what Django works out when used."""
    advise(
        LazyObject,
        "It stands for an object that is fetched when it is used. Put that object itself into the "
        "context; for request.user it is await request.auser(), or get_user(request) of "
        "django.contrib.auth.",
    )
    advise(
        Promise,
        "It is worked out anew in every language. Put the text itself into the context, by "
        "str(...), or translate where the text is shown.",
    )


@contextmanager
def fetching() -> Iterator[_Fetching]:
    """Have references that are decoded in the block become instances.

    They hold their primary keys only, until the block calls what it is given with the contexts it
    is about to hand out: then all rows are read, with one query for each model and database.
    """
    found = _Fetching()
    token = _fetching.set(found)
    try:
        yield found
    finally:
        _fetching.reset(token)


class _Fetching:
    """The instances of one block; each row has one instance, however often it is referred to."""

    def __init__(self) -> None:
        self._instances: dict[ModelReference, models.Model] = {}
        self.gone: dict[int, ModelReference] = {}

    def instance(self, reference: ModelReference) -> models.Model:
        """The instance of a row, with nothing but its key until the rows are read."""
        known = self._instances.get(reference)
        if known is None:
            known = self._instances[reference] = _hollow(reference)
        return known

    def __call__(self, contexts: Iterable[Mapping[str, Any]]) -> None:
        """Read the rows.

        Raises:
            ReferenceGoneError: a row is gone that one of the contexts refers to.
        """
        if not self._instances:
            return
        by_table: dict[tuple[str, str], list[ModelReference]] = defaultdict(list)
        for reference in self._instances:
            by_table[reference.model, reference.using].append(reference)
        for (model, using), references in by_table.items():
            waiting = iter(references)
            while batch := list(islice(waiting, _FETCHED_AT_ONCE)):
                self._read(model, using, batch)
        if self.gone:
            self._refuse(contexts)

    def _read(self, model: str, using: str, references: Sequence[ModelReference]) -> None:
        keys = [reference.pk for reference in references]
        rows: dict[Any, models.Model] = {}
        if using in connections:
            manager = apps.get_model(model)._base_manager.using(using)
            rows = {row.pk: row for row in manager.filter(pk__in=keys)}
        for reference in references:
            hollow, row = self._instances[reference], rows.get(reference.pk)
            if row is None:
                self.gone[id(hollow)] = reference
            else:
                hollow.__dict__.update(row.__dict__)

    def _refuse(self, contexts: Iterable[Mapping[str, Any]]) -> None:
        """Find the way to a row that is gone; what later steps have replaced is no matter."""
        for context in contexts:
            try:
                DEFAULT_CODEC.encode(context)
            except EncodingError as problem:
                gone = problem.__cause__
                if not isinstance(gone, _Gone):
                    raise
                reference = gone.reference
                raise ReferenceGoneError(
                    f"The value of {problem.path} refers to {reference} in database "
                    f"{reference.using!r}, and that row is gone. Nothing was run. Restore the row, "
                    "or fork the run and set another value.",
                    path=problem.path,
                    model=reference.model,
                    pk=reference.pk,
                    using=reference.using,
                ) from None


class _Gone(Exception):
    """Travels inside a refusal of the codec to say which row it is about."""

    def __init__(self, reference: ModelReference) -> None:
        super().__init__(str(reference))
        self.reference = reference


_fetching: ContextVar[_Fetching | None] = ContextVar("fluxio_fetching", default=None)


def _encode(value: models.Model | ModelReference) -> dict[str, Any]:
    under = _fetching.get()
    if under is not None and id(value) in under.gone:
        raise Refusal("refers to a row that is gone.") from _Gone(under.gone[id(value)])
    reference = value if isinstance(value, ModelReference) else reference_to(value)
    return {"model": reference.model, "pk": reference.pk, "using": reference.using}


def _decode(stored: Mapping[str, Any]) -> models.Model | ModelReference:
    reference = ModelReference(stored["model"], stored["pk"], stored["using"])
    under = _fetching.get()
    return reference if under is None else under.instance(reference)


def _hollow(reference: ModelReference) -> models.Model:
    model = _model_named(reference.model)
    if model is None:
        raise Refusal(
            f"refers to {reference}, and no such model is installed. Install its app, or rename it "
            "back."
        )
    hollow: models.Model = model.__new__(model)
    hollow._state = ModelState()
    hollow._state.db, hollow._state.adding = reference.using, False
    fields = model._meta.pk_fields
    keys = [reference.pk] if len(fields) == 1 else reference.pk
    for field, key in zip(fields, keys, strict=True):
        hollow.__dict__[field.attname] = key
    return hollow


def _model_named(label: str) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def _plain_key(instance: models.Model) -> Any:
    """The primary key as the database gives it, also where "7" was set for 7."""
    key = instance.pk
    return key if isinstance(key, tuple) else instance._meta.pk.to_python(key)
