"""What the API is described as is what it is: a generator of requests finds no server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.urls import get_resolver
from hypothesis import given, settings

from fluxio_django.rights import Right
from fluxio_django.views.description import described
from tests.app.views.shop import browser, person, run_of

pytestmark = pytest.mark.django_db

schemathesis = pytest.importorskip("schemathesis")

TOKEN = "t" * 32
CHECKS = [
    pytest.importorskip("schemathesis.checks").not_a_server_error,
    pytest.importorskip("schemathesis.specs.openapi.checks").status_code_conformance,
    pytest.importorskip("schemathesis.specs.openapi.checks").content_type_conformance,
    pytest.importorskip("schemathesis.specs.openapi.checks").response_schema_conformance,
]


def test_the_description_names_every_endpoint(ada: User) -> None:
    (included,) = [each for each in get_resolver().url_patterns if str(each.pattern) == "fluxio/"]
    addresses = {
        "/" + str(pattern.pattern).replace("<fluxio_run:", "{").replace(">", "}")
        for pattern in included.url_patterns
        if pattern.name not in ("openapi", "health")  # the latter is for probes
    }
    found = browser(ada).get("/fluxio/openapi.json").json()
    assert set(found["paths"]) == addresses
    assert found["servers"] == [{"url": "/fluxio"}]


@pytest.fixture
def _one_connection() -> Iterator[None]:
    """Requests stay in the transaction of the test."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(params=["known", "unknown"])
def api(request: pytest.FixtureRequest, settings: Any, _one_connection: None) -> Any:
    """The description, and somebody signed in who may do everything."""
    settings.FLUXIO = settings.FLUXIO | {"START_RATE": "1000000/s"}
    everything = person("eve", "view_run", *(right.value for right in Right))
    run_of(everything, "0")
    run_of(everything, "bad", card="declined")
    client = Client()
    client.force_login(everything)
    document = described("/fluxio/")
    document["security"] = []  # the session below is given by hand
    for name in ("RunID", "OtherID"):
        ids = document["components"]["parameters"][name]["schema"]
        ids |= {"enum": ["0", "bad"]} if request.param == "known" else {}
    schema = schemathesis.openapi.from_dict(document)
    schema.app = get_wsgi_application()
    cookies = {"sessionid": client.cookies["sessionid"].value, "csrftoken": TOKEN}
    return schema, {"cookies": cookies, "headers": {"X-CSRFToken": TOKEN}}


OPERATIONS = [
    operation["operationId"]
    for path in described("/fluxio/")["paths"].values()
    for operation in path.values()
    if isinstance(operation, dict)
]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    "examples", [8, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_generated_requests_are_answered_as_described(api: Any, name: str, examples: int) -> None:
    schema, signed_in = api
    operation = schema.find_operation_by_id(name)
    statuses = set()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(**signed_in)
        statuses.add(answer.status_code)
        # Neither a server error nor a status, a type or a shape that is not described.
        case.validate_response(answer, checks=CHECKS)

    ask()
    assert statuses
    assert max(statuses) < 500
