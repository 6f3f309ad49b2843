"""Whose runs a person may see: the one query set behind every page and view that looks runs up."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from fluxio.errors import ConfigurationError
from fluxio_django.conf import settings
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from fluxio_django.models import Run
    from fluxio_django.querysets import RunQuerySet

    Person = AbstractBaseUser | AnonymousUser

Rule = Callable[[Any, "RunQuerySet[Run]"], "RunQuerySet[Run]"]
"""Takes a user and runs, and gives those of the runs that this user may know of."""


def visible_to(user: Person) -> RunQuerySet[Run]:
    """The runs that a user may know of; any other id is to be answered as one that is unknown.

    FLUXIO["VISIBLE_TO"] names the rule; without one the permissions alone decide. Seeing a run does
    not show its values: that is a permission of its own.

    Raises:
        ConfigurationError: FLUXIO["VISIBLE_TO"] leads to no function.
    """
    runs, rule = Tables().runs, visibility_rule()
    return runs if rule is None else rule(user, runs)


@cache
def visibility_rule() -> Rule | None:
    """The function that FLUXIO["VISIBLE_TO"] names, None where it names none.

    Raises:
        ConfigurationError: it leads to no function.
    """
    chosen = settings().visible_to
    if chosen is None or not isinstance(chosen, str):
        return chosen
    try:
        found: Any = import_string(chosen)
    except ImportError as problem:
        raise _no_rule(chosen, f"cannot be imported: {problem}") from problem
    if not callable(found):
        raise _no_rule(chosen, "is no function")
    rule: Rule = found
    return rule


def _no_rule(chosen: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"FLUXIO['VISIBLE_TO'] is {chosen!r}, which {reason}. Use the dotted path of a function "
        "that takes a user and a query set of runs, and returns the runs this user may know of."
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLUXIO":
        visibility_rule.cache_clear()


setting_changed.connect(_forget, dispatch_uid="fluxio_django.visibility")
