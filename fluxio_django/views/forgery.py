"""What clients of the API are told when their request lacks the token against forgery."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import csrf

from fluxio_django.views.endpoint import Endpoint
from fluxio_django.views.problems import untrusted


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Tell programs in JSON and people on Django's page that the CSRF token is missing or wrong.

    To be named in a project's settings: `CSRF_FAILURE_VIEW = "fluxio_django.views.csrf_failure"`.
    The endpoints of the API then refuse with problem details (RFC 9457) like everywhere else; every
    other view is answered for by Django. `reason` is what Django gives; it is shown on its page
    while DEBUG is on, and not in the problem.
    """
    view = getattr(getattr(request.resolver_match, "func", None), "view_class", None)
    if view is not None and issubclass(view, Endpoint):
        return untrusted(settings.CSRF_COOKIE_NAME).response()
    return csrf.csrf_failure(request, reason=reason)
