"""What a run is about: the link from a run to any model instance, and the way back."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models, router

from fluxio.errors import ConfigurationError
from fluxio_django.links import homes
from fluxio_django.records import Note
from fluxio_django.tables import Tables


def note_of(
    tables: Tables, subject: models.Model | None, requested_by: models.Model | None
) -> Note:
    """What is noted of a run that somebody starts about something.

    Raises:
        ConfigurationError: the subject or the person is no instance of a model or has not been
            saved, the person is no user, or the subject is in a database where a run would not
            find it.
    """
    for word, instance in (("subject", subject), ("requested_by", requested_by)):
        if instance is None:
            continue
        _check_instance(word, instance)
        if instance.pk is None or instance._state.adding:
            raise ConfigurationError(
                f"{word}={instance!r} has not been saved, so a run cannot point to it. "
                "Save it first."
            )
    user = get_user_model()
    if requested_by is not None and not isinstance(requested_by, _concrete(user)):
        raise ConfigurationError(
            f"requested_by={requested_by!r} is no {user._meta.label}, so it cannot have asked for "
            "a run. Give the user; what the run is about is its subject=."
        )
    if subject is not None:
        _check_home(tables, subject)
    return Note(
        requested_by_id=None if requested_by is None else requested_by.pk,
        subject_type_id=None if subject is None else type_of(tables, subject).pk,
        subject_id="" if subject is None else key_of(subject),
    )


def _concrete(model: type[models.Model]) -> type[models.Model]:
    """The model itself, or the one that it is a proxy of."""
    return model._meta.concrete_model or model


def _check_instance(word: str, given: Any) -> None:
    if not isinstance(given, models.Model):
        raise ConfigurationError(
            f"{word}={given!r} is no instance of a model. Give one that has been saved."
        )


def _check_home(tables: Tables, subject: models.Model) -> None:
    """Refuse a subject that `run.subject` would not find, or take another row for."""
    alias, known = subject._state.db, homes(type(subject), tables.alias)
    if alias is not None and alias not in known:
        named = " or ".join(map(repr, known))
        raise ConfigurationError(
            f"subject={subject!r} is in database {alias!r}, but a run finds what it is about in "
            f"{named}. Have the db_for_read of a router name {alias!r} for "
            f"{subject._meta.label}, or keep the runs in {alias!r}."
        )


def type_of(tables: Tables, subject: models.Model | type[models.Model]) -> Any:
    """The content type by which runs in these tables point to a model.

    It is the row beside the runs, which every database has where Django's content types are
    migrated; elsewhere the one that the routers name.
    """
    return kinds(tables).get_for_model(subject)


def kinds(tables: Tables) -> Any:
    """The content types to which runs in these tables point."""
    model: Any = apps.get_model("contenttypes", "ContentType")
    beside = router.allow_migrate_model(tables.alias, model)
    return model.objects.db_manager(tables.alias if beside else router.db_for_write(model))


def key_of(subject: models.Model) -> str:
    """The text by which runs point to an instance among those of its model."""
    return str(subject.pk)


def about(tables: Tables, subject: models.Model) -> dict[str, Any]:
    """What a query for the runs about an instance asks for.

    Raises:
        ConfigurationError: it is no instance of a model.
    """
    _check_instance("subject", subject)
    return {"subject_type": type_of(tables, subject).pk, "subject_id": key_of(subject)}
