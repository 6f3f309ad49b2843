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

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        """The instance, None where there is none or it is gone."""
        if instance is None:
            return self
        key = getattr(instance, self.fk_field)
        kind = getattr(instance, f"{self.ct_field}_id")
        known = self.get_cached_value(instance, default=None)
        if known is not None and str(known.pk) == key and self._kind(known, instance) == kind:
            return known
        if kind is None or key == "":
            return None
        content_type = self.get_content_type(id=kind, using=instance._state.db)
        model = content_type.model_class()
        found = None if model is None else _find(model, key, instance._state.db)
        self.set_cached_value(instance, found)
        return found

    def _kind(self, known: models.Model, run: models.Model) -> Any:
        """The key of the content type of an instance, in the database of the run."""
        kinds = ContentType.objects.db_manager(run._state.db)
        return kinds.get_for_model(known, for_concrete_model=self.for_concrete_model).pk


def _find(model: type[models.Model], key: str, beside: str) -> models.Model | None:
    first, *others = homes(model, beside)
    found = model._base_manager.using(first).filter(pk=key).first()
    for alias in others if found is None else ():
        # A database without the table must not spoil a transaction of the caller.
        with suppress(Error), transaction.atomic(using=alias):
            found = model._base_manager.using(alias).filter(pk=key).first()
    return found
