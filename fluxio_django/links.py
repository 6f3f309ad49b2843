"""Links from a run to what may live in another database than runs do."""

from __future__ import annotations

from typing import Any

from django.db import models, router


def homes(model: type[models.Model], beside: str) -> list[str]:
    """Where an instance can be that a run in `beside` is about; the likeliest database first."""
    return list(dict.fromkeys((router.db_for_read(model), beside)))


def set_null_beside_runs(
    collector: Any, field: models.ForeignKey[Any, Any], sub_objs: Any, using: str
) -> None:
    """SET_NULL where tables of runs may be; a database that routers keep free of them has none."""
    if router.allow_migrate_model(using, field.model):
        models.SET_NULL(collector, field, sub_objs, using)


set_null_beside_runs.lazy_sub_objs = True  # type: ignore[attr-defined]
