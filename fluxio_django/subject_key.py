"""The link from a run to what it is about, as the models declare it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import Error, models, transaction

from fluxio_django.links import homes


class SubjectKey(GenericForeignKey):
    """The link to any model instance, found where the project reads that model.

    That is the database that the routers name, and failing that the one of the run. A plain
    GenericForeignKey would only look beside the run, and take another row with the same key for it.
    """

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = True, **kwargs: Any
    ) -> None:
        """Put `SubjectDescriptor` in front of what Django makes the attribute."""
        super().contribute_to_class(cls, name, **kwargs)
        setattr(cls, name, SubjectDescriptor(self, cls.__dict__[name]))


class SubjectDescriptor:
    """Reads a `SubjectKey`; writing and prefetching are left to Django's descriptor.

    That one is the field itself before Django 6.1, and an object of its own since.
    """

    def __init__(self, field: SubjectKey, usual: Any) -> None:
        self._field = field
        self._usual = usual

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        """The instance, None where there is none or it is gone."""
        if instance is None:
            return self._usual
        field = self._field
        key = getattr(instance, field.fk_field)
        kind = getattr(instance, f"{field.ct_field}_id")
        known = field.get_cached_value(instance, default=None)
        if known is not None and str(known.pk) == key and self._kind(known, instance) == kind:
            return known
        if kind is None or key == "":
            return None
        content_type = field.get_content_type(id=kind, using=instance._state.db)
        model = content_type.model_class()
        found = None if model is None else _find(model, key, instance._state.db)
        field.set_cached_value(instance, found)
        return found

    def __set__(self, instance: Any, value: Any) -> None:
        """Link another instance, or none."""
        self._usual.__set__(instance, value)

    def _kind(self, known: models.Model, run: models.Model) -> Any:
        """The key of the content type of an instance, in the database of the run."""
        kinds = ContentType.objects.db_manager(run._state.db)
        return kinds.get_for_model(known, for_concrete_model=self._field.for_concrete_model).pk


def _find(model: type[models.Model], key: str, beside: str) -> models.Model | None:
    first, *others = homes(model, beside)
    found = model._base_manager.using(first).filter(pk=key).first()
    for alias in others if found is None else ():
        # A database without the table must not spoil a transaction of the caller.
        with suppress(Error), transaction.atomic(using=alias):
            found = model._base_manager.using(alias).filter(pk=key).first()
    return found
