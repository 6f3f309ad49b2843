"""Whose runs a person may see: the one query set behind every page and view that looks runs up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio_django.conf import visibility_rule
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from fluxio_django.models import Run
    from fluxio_django.querysets import RunQuerySet

    Person = AbstractBaseUser | AnonymousUser


def visible_to(user: Person) -> RunQuerySet[Run]:
    """The runs that a user may know of; any other id is to be answered as one that is unknown.

    FLUXIO["VISIBLE_TO"] names the rule; without one the permissions alone decide. Seeing a run does
    not show its values: that is a permission of its own.

    Raises:
        ConfigurationError: FLUXIO["VISIBLE_TO"] leads to no function.
    """
    runs, rule = Tables().runs, visibility_rule()
    return runs if rule is None else rule(user, runs)
