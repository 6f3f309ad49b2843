"""What all endpoints have in common: methods, the signed-in user, refusals, and nothing cached."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.vary import vary_on_cookie

from fluxio_django.conf import settings
from fluxio_django.views.access import signed_in
from fluxio_django.views.problems import Problem, problem_of, unknown_pipeline

logger = logging.getLogger("fluxio.views")

Handler = Callable[..., HttpResponseBase]


# Whatever middleware a project has, a POST needs the token.
@method_decorator([csrf_protect, vary_on_cookie], name="dispatch")
class Endpoint(View):
    """Base of the endpoints: `get` and `post` answer, or raise a `Problem` or an error of ours."""

    user: Any

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer a request of somebody who is signed in."""
        try:
            self.user = signed_in(request)
            if not settings().views:
                raise unknown_pipeline()
            return super().dispatch(request, *args, **kwargs)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                logger.error("%s was not answered: %s", request.path, error, exc_info=error)
            return problem.response()

    def http_method_not_allowed(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Say which methods there are."""
        allowed = super().http_method_not_allowed(request, *args, **kwargs).headers["Allow"]
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED, "method", f"Use {allowed}.", {"Allow": allowed}
        ).response()
