"""Writes many objects in few statements: new ones are inserted, known ones updated."""

from collections.abc import Sequence
from typing import TypeVar

from django.db import connections, models, router

Object = TypeVar("Object", bound=models.Model)


def upsert(objects: Sequence[Object]) -> None:
    """Insert objects of one model, or update all their columns where the primary key is known."""
    if not objects:
        return
    model = type(objects[0])
    alias = router.db_for_write(model)
    key = model._meta.pk
    columns = [field.name for field in model._meta.concrete_fields if not field.primary_key]
    # MariaDB and MySQL find the conflicting key themselves and refuse to be told.
    targeted = connections[alias].features.supports_update_conflicts_with_target
    model._default_manager.using(alias).bulk_create(
        objects,
        update_conflicts=True,
        update_fields=columns,
        unique_fields=[key.name] if targeted else None,
    )
