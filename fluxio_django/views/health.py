"""Tells a probe whether runs are being worked on; closed until FLUXIO["HEALTH_TOKEN"] is set."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views import View

from fluxio_django import services
from fluxio_django.conf import settings
from fluxio_django.views.problems import Problem, answer

_SCHEME = "Bearer "


# A database that is away is an answer, so no transaction is to be begun around it.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class Health(View):
    """200 where all is well, 503 where something is wrong; the body says what.

    The probe sends `Authorization: Bearer TOKEN`. A session or a user is not needed, and is not
    looked at, so that the view answers while the database is away.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer nobody who does not know the token."""
        token = settings().health_token
        given = request.headers.get("Authorization", "")
        if token is None:
            detail = "There is no such view."
            return Problem(HTTPStatus.NOT_FOUND, "unknown-view", detail).response()
        if not constant_time_compare(given, _SCHEME + token):
            headers = {"WWW-Authenticate": 'Bearer realm="fluxio"'}
            detail = "Send the token of the health view."
            return Problem(HTTPStatus.UNAUTHORIZED, "signed-out", detail, headers).response()
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        """How things stand."""
        found = services.health()
        status = HTTPStatus.SERVICE_UNAVAILABLE if found.problems else HTTPStatus.OK
        facts = {
            "status": "unhealthy" if found.problems else "healthy",
            "problems": list(found.problems),
            "oldest_wait_seconds": found.oldest_wait,
            "lapsed_runs": found.lapsed_runs,
        }
        return answer(facts, status)
