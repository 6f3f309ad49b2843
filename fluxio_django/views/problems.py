"""What went wrong, as clients read it: problem details by RFC 9457, for whatever is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse

from fluxio.errors import (
    CheckpointVersionError,
    DecodingError,
    EncodingError,
    InvalidRunIDError,
    NoCheckpointError,
    RunIDInUseError,
    StoreError,
)
from fluxio_django.limits import DeduplicationError
from fluxio_django.registry import UnknownPipelineError
from fluxio_django.services import RunEndedError

TYPE = "urn:fluxio:problem:"
CONTENT_TYPE = "application/problem+json"


@dataclass(eq=False)
class Problem(Exception):
    """A request that is refused. `slug` names the kind of refusal, `detail` says what to do."""

    status: HTTPStatus
    slug: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> HttpResponse:
        """The answer that says so."""
        facts = {
            "type": TYPE + self.slug,
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        return answer(facts, self.status, self.headers, content_type=CONTENT_TYPE)


def answer(
    facts: Any,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str = "application/json",
) -> HttpResponse:
    """JSON that nobody keeps, guesses the type of, or shares between people."""
    given = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Cookie",
        **(headers or {}),
    }
    return HttpResponse(
        json.dumps(facts, allow_nan=False), content_type=content_type, status=status, headers=given
    )


def unauthenticated() -> Problem:
    """Nobody is signed in."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "signed-out",
        "Sign in first.",
        {"WWW-Authenticate": 'Session realm="fluxio"'},
    )


def forbidden(detail: str) -> Problem:
    """The user lacks a permission."""
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)


def untrusted(cookie: str) -> Problem:
    """The token against forgery is missing or wrong; `cookie` is where a client finds it."""
    detail = f"Send the CSRF token of the cookie {cookie} in the header X-CSRFToken."
    return Problem(HTTPStatus.FORBIDDEN, "csrf", detail)


def unknown_run() -> Problem:
    """There is no such run, or not for this user: both are told in the same words."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-run", "There is no such run.")


def unknown_pipeline() -> Problem:
    """No such pipeline is open."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-pipeline", "There is no such pipeline.")


def malformed(detail: str) -> Problem:
    """The request cannot be understood."""
    return Problem(HTTPStatus.BAD_REQUEST, "malformed", detail)


def unfit(detail: str) -> Problem:
    """The request is understood, and what it holds does not do."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unfit", detail)


def too_large(detail: str) -> Problem:
    """More was sent than is read."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)


def conflict(slug: str, detail: str) -> Problem:
    """The run is in no state for it."""
    return Problem(HTTPStatus.CONFLICT, slug, detail)


def problem_of(error: Exception) -> Problem | None:
    """How an error of ours is told; None for whatever is no fault of the client.

    Messages that may name runs or hold values of others are told in words of our own.
    """
    match error:
        case Problem():
            return error
        case UnknownPipelineError():
            return unknown_pipeline()
        case NoCheckpointError() | InvalidRunIDError():
            return unknown_run()
        case RunEndedError():
            return conflict("ended", f"The run is {error.status} already.")
        case CheckpointVersionError():
            return conflict("other-version", "The run was recorded by another version of its code.")
        case RunIDInUseError():
            return conflict("in-use", "The run is being executed, or it is there already.")
        case EncodingError():
            return unfit(f"A value cannot be stored: {error.path}.")
        case DeduplicationError():
            return unfit(f"The input needs a text, a number or null as {error.key!r}.")
        case DecodingError():
            return malformed(str(error))
        case RequestDataTooBig():
            return too_large("The request is too large.")
        case StoreError() | OperationalError() | InterfaceError():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "database",
                "The database does not answer. Try again.",
                {"Retry-After": "5"},
            )
        case _:
            return None
