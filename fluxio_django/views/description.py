"""The description of the JSON API by OpenAPI 3.1, made of what the endpoints themselves go by."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from fluxio.types import RunStatus
from fluxio_django.conf import settings
from fluxio_django.enums import RowKind
from fluxio_django.values import JSON_RULE
from fluxio_django.views import problems
from fluxio_django.views.api import LONGEST_REASON, MOST_RUNS
from fluxio_django.views.bodies import LIMITS
from fluxio_django.views.endpoint import Endpoint

Schema = dict[str, Any]

_LAST = "pipelines/"
_AGAIN = "The run that this key started before, or an open one of yours that does the same"


class OpenAPI(Endpoint):
    """The description itself."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Describe the API under the address where the project has put it."""
        return problems.answer(described(reverse("fluxio:pipelines").removesuffix(_LAST)))


def described(prefix: str) -> Schema:
    """The description of the API whose addresses begin with a prefix."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Runs",
            "version": _version(),
            "description": "Start, watch, cancel, resume and compare runs. What you may not see "
            f"is answered as what does not exist. {JSON_RULE}",
        },
        "servers": [{"url": prefix.rstrip("/") or "/"}],
        "security": [{"session": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": _security(),
            "parameters": {"RunID": _in_path("run_id"), "OtherID": _in_path("other_id")},
            "headers": {
                "RetryAfter": {
                    "description": "Seconds to wait.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            },
            "responses": {"Problem": _problem()},
            "schemas": _schemas(),
        },
    }


def _paths() -> dict[str, Schema]:
    one = [_ref("parameters", "RunID")]
    two = [*one, _ref("parameters", "OtherID")]
    return {
        "/pipelines/": {
            "get": _operation("listPipelines", "The pipelines you may start", "Pipelines")
        },
        "/runs/": {"get": _list_runs(), "post": _start_run()},
        "/runs/{run_id}/": {
            "parameters": one,
            "get": _operation("showRun", "Where a run is", "Run", 404),
        },
        "/runs/{run_id}/history/": {"parameters": one, "get": _history()},
        "/runs/{run_id}/result/": {
            "parameters": one,
            "get": _operation("showResult", "What a run ended with", "Result", 403, 404, 409, 422),
        },
        "/runs/{run_id}/events/": {"parameters": one, "get": _events()},
        "/runs/{run_id}/cancel/": {
            "parameters": one,
            "post": _change("cancelRun", "End a run", 403, 404, 409),
        },
        "/runs/{run_id}/resume/": {
            "parameters": one,
            "post": _change(
                "resumeRun", "Go on with a run from its last checkpoint", 403, 404, 409, 429
            ),
        },
        "/runs/{run_id}/diff/{other_id}/": {
            "parameters": two,
            "get": _operation(
                "compareRuns", "What differs between two runs", "Difference", 403, 404, 422
            ),
        },
    }


def _operation(
    name: str, summary: str, schema: str, *refusals: int, success: HTTPStatus = HTTPStatus.OK
) -> Schema:
    answers: Schema = {
        str(success.value): {
            "description": summary,
            "content": {"application/json": {"schema": _ref("schemas", schema)}},
        }
    }
    answers |= {
        str(status): _ref("responses", "Problem") for status in (400, 401, 422, 503, *refusals)
    }
    return {"operationId": name, "summary": summary, "responses": dict(sorted(answers.items()))}


def _list_runs() -> Schema:
    parameters = [
        _in_query("status", {"type": "string", "enum": list(RunStatus)}),
        _in_query("pipeline", {"type": "string"}),
        _in_query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_RUNS, "default": 20}),
        _in_query("after", {"type": "string", "description": "What a page named as `next`."}),
    ]
    listing = _operation("listRuns", "Runs, the newest first", "RunPage", 404)
    return {**listing, "parameters": parameters}


def _history() -> Schema:
    described = _operation("showHistory", "The rows of a run's log", "HistoryPage", 404)
    first = {"type": "integer", "minimum": 0, "maximum": 10**9 - 1, "default": 0}
    return {**described, "parameters": [_in_query("from", first)]}


def _events() -> Schema:
    followed = _operation("followRun", "What happens to a run, as it happens", "Run", 404, 429)
    sent = {name: {"type": "string"} for name in ("data", "event", "id", "retry")}
    stream = {"text/event-stream": {"schema": {"type": "object", "properties": sent}}}
    followed["responses"]["200"] = {
        "description": "Server-sent events: `step` for each row of the log, `run` for the run as "
        "it is now, and `end`.",
        "content": stream,
    }
    followed["responses"]["204"] = {"description": "The run has ended, and you have seen all."}
    last = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}
    return {**followed, "parameters": [last]}


def _start_run() -> Schema:
    refusals = (403, 404, 409, 413, 415, 429)
    started = _operation("startRun", "Queue a run", "Run", *refusals, success=HTTPStatus.ACCEPTED)
    again = {**started["responses"]["202"], "description": _AGAIN}
    started["responses"] = dict(sorted({**started["responses"], "200": again}.items()))
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A request that is sent again with the same key starts nothing new.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    members = {
        "pipeline": {"type": "string", "enum": sorted(settings().views)},
        "input": {"type": "object", "description": "The first values of the context."},
    }
    body = _body({"type": "object", "required": ["pipeline"], "properties": members})
    return {**started, "parameters": [key], "requestBody": {**body, "required": True}}


def _change(name: str, summary: str, *refusals: int) -> Schema:
    changed = _operation(name, summary, "Run", *refusals, 413, 415, success=HTTPStatus.ACCEPTED)
    reason = {"type": "string", "maxLength": LONGEST_REASON}
    return {**changed, "requestBody": _body({"type": "object", "properties": {"reason": reason}})}


def _body(schema: Schema) -> Schema:
    return {
        "description": f"At most {LIMITS.max_bytes} bytes.",
        "content": {"application/json": {"schema": {**schema, "additionalProperties": False}}},
    }


def _problem() -> Schema:
    return {
        "description": "Why it was refused (RFC 9457)",
        "headers": {"Retry-After": _ref("headers", "RetryAfter")},
        "content": {problems.CONTENT_TYPE: {"schema": _ref("schemas", "Problem")}},
    }


def _schemas() -> dict[str, Schema]:
    text, whole, truth = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
    maybe_text: Schema = {"type": ["string", "null"]}
    moment: Schema = {"type": "string", "format": "date-time"}
    maybe_moment: Schema = {"type": ["string", "null"], "format": "date-time"}
    error = {"type": ["object", "null"], "properties": {"type": maybe_text, "message": text}}
    progress = {
        "type": ["object", "null"],
        "properties": {"done": whole, "total": {"type": ["integer", "null"]}, "note": text},
    }
    run = {
        "run_id": text,
        "pipeline": text,
        "version": text,
        "status": {"type": "string", "enum": list(RunStatus)},
        "interrupted": truth,
        "attempt": whole,
        "head": whole,
        "step": maybe_text,
        "progress": progress,
        "error": error,
        "created_at": moment,
        "updated_at": moment,
        "started_at": maybe_moment,
        "finished_at": maybe_moment,
        "links": {"type": "object", "additionalProperties": text},
    }
    row = {
        "attempt": whole,
        "kind": {"type": "string", "enum": RowKind.values},
        "step": maybe_text,
        "branch": maybe_text,
        "background": truth,
        "tries": whole,
        "duration": {"type": "number"},
        "size": whole,
        "created_at": moment,
        "wrote": {"type": ["object", "array", "null"]},
        "error": error,
    }
    change = {"path": text, "kind": text, "a": {}, "b": {}}
    keys = {"type": "array", "items": text}
    return {
        "Run": _object(run),
        "RunPage": _object({"runs": _list_of("Run"), "next": maybe_text}),
        "Row": {
            "type": "object",
            "required": ["sequence", "damaged"],
            "properties": {"sequence": whole, "damaged": truth, **row},
        },
        "HistoryPage": _object({"rows": _list_of("Row"), "next": {"type": ["integer", "null"]}}),
        "Result": _object(
            {"run_id": text, "status": text, "complete": truth, "result": {"type": "object"}}
        ),
        "Difference": {
            "type": "object",
            "required": ["a", "b", "keys", "truncated"],
            "properties": {
                "a": text,
                "b": text,
                "keys": keys,
                "truncated": truth,
                "changes": {"type": "array", "items": {"type": "object", "properties": change}},
            },
        },
        "Pipelines": _object({"pipelines": keys}),
        "Problem": _object({"type": text, "title": text, "status": whole, "detail": text}),
    }


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list_of(schema: str) -> Schema:
    return {"type": "array", "items": _ref("schemas", schema)}


def _in_path(name: str) -> Schema:
    said = "A slash in it is written ~1, a tilde ~0."
    schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-.0-~]+$"}
    return {"name": name, "in": "path", "required": True, "description": said, "schema": schema}


def _in_query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "schema": schema}


def _security() -> Schema:
    return {
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": django_settings.SESSION_COOKIE_NAME,
            "description": "Django's session. A POST needs its CSRF token besides.",
        }
    }


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _version() -> str:
    try:
        return version("fluxio-django")
    except PackageNotFoundError:
        return "0"
