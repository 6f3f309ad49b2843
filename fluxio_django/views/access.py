"""Who may know of which run, and do what with it: the one door of every view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from fluxio.errors import InvalidRunIDError
from fluxio.runtime.reading import checked_run_id
from fluxio_django.conf import settings, visibility_rule
from fluxio_django.models import Run
from fluxio_django.openings import OpenPipeline
from fluxio_django.rights import Right, has_right
from fluxio_django.views.problems import forbidden, unauthenticated, unknown_pipeline, unknown_run
from fluxio_django.visibility import visible_to

if TYPE_CHECKING:
    from fluxio_django.querysets import RunQuerySet

VIEW = "fluxio_django.view_run"


def open_pipelines() -> dict[str, OpenPipeline]:
    """What FLUXIO["VIEWS"] opens, by name."""
    return {name: OpenPipeline.parse(name, given) for name, given in settings().views.items()}


def signed_in(request: HttpRequest) -> Any:
    """The user of a request.

    Raises:
        Problem: nobody is signed in.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise unauthenticated()
    return user


def known_to(user: Any) -> RunQuerySet[Run]:
    """The runs that a user may know of, of whatever pipelines.

    FLUXIO["VISIBLE_TO"] decides. Where it is not set, people see the runs that they asked for, and
    those with the permission `fluxio_django.view_run` see all.
    """
    runs = visible_to(user)
    if visibility_rule() is not None or user.has_perm(VIEW):
        return runs
    # To nobody in particular belongs what nobody in particular asked for; that is not shown.
    return runs.filter(requested_by=user.pk) if user.is_authenticated else runs.none()


def seen_by(user: Any) -> RunQuerySet[Run]:
    """The runs of open pipelines that a user may know of; see `known_to`."""
    return known_to(user).filter(pipeline__in=list(settings().views))


def find(user: Any, run_id: str) -> Run:
    """A run that a user may know of.

    Raises:
        Problem: there is none, or it is not for this user, which nobody can tell apart.
    """
    try:
        found = seen_by(user).filter(run_id=checked_run_id(run_id)).first()
    except InvalidRunIDError:
        found = None
    if found is None:
        raise unknown_run()
    return found


def opened(user: Any, name: str) -> OpenPipeline:
    """A pipeline that a user may start.

    Raises:
        Problem: it is not open, or not for this user.
    """
    found = open_pipelines().get(name)
    if found is None:
        raise unknown_pipeline()
    if not found.may_start(user):
        raise forbidden("You may not start runs of this pipeline.")
    return found


def check_right(user: Any, right: Right, run: Run) -> None:
    """See to it that a user holds a right on a run.

    Raises:
        Problem: it was not given.
    """
    if not has_right(user, right, run):
        raise forbidden(f"This needs the permission {right.permission}.")
