"""The JSON API: what can be asked of runs, and done with them. Each endpoint calls one service."""

from __future__ import annotations

from http import HTTPStatus
from secrets import token_hex
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import salted_hmac

from fluxio.types import OnConflict, RunStatus
from fluxio_django import services
from fluxio_django.deeds import Deed, record
from fluxio_django.isolation import own_transaction
from fluxio_django.log import ROWS_PER_PAGE, bytes_of_state, read_page
from fluxio_django.models import Run
from fluxio_django.queueing import Wish
from fluxio_django.registry import pipelines
from fluxio_django.rights import Right, has_right
from fluxio_django.views import bodies, representation
from fluxio_django.views.access import check_right, find, open_pipelines, opened, seen_by
from fluxio_django.views.endpoint import Endpoint
from fluxio_django.views.problems import answer, conflict, malformed, unfit, unknown_pipeline
from fluxio_django.views.throttle import count_start

MOST_RUNS = 100
LONGEST_REASON = 500
MOST_BYTES_OF_STATE = 2 * 1024 * 1024

_KEY_LENGTHS = range(1, 256)


class Runs(Endpoint):
    """The runs one may know of, newest first, and the place to start one."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """A page of runs."""
        query = bodies.read_query(request, ("status", "pipeline", "after", "limit"))
        limit = bodies.number_in(query, "limit", default=20, least=1, most=MOST_RUNS)
        runs = seen_by(self.user).order_by("-created_at", "-id")
        if "status" in query:
            runs = runs.filter(status=_status(query["status"]))
        if "pipeline" in query:
            if query["pipeline"] not in open_pipelines():
                raise unknown_pipeline()
            runs = runs.filter(pipeline=query["pipeline"])
        place = bodies.place_in(query, "after")
        if place is not None:
            moment, key = place
            runs = runs.filter(
                Q(created_at__lt=moment) | Q(created_at=moment, pk__lt=key),
                created_at__lte=moment,  # which an index can answer
            )
        found = list(runs[: limit + 1])
        shown = found[:limit]
        following = bodies.place_of(shown[-1]) if len(found) > limit else None
        return answer({"runs": self._facts(shown), "next": following})

    def post(self, request: HttpRequest) -> HttpResponse:
        """Start a run of an open pipeline: it is queued, and a worker executes it."""
        body = bodies.read_body(request, ("pipeline", "input"))
        name = bodies.text_in(body, "pipeline", longest=200)
        opened(self.user, name)
        if name not in pipelines:
            raise unknown_pipeline()
        initial = bodies.object_in(body, "input")
        count_start(str(self.user.pk))
        run_id = self._run_id(request, name)
        if run_id is not None:
            before = seen_by(self.user).filter(run_id=run_id).first()
            if before is not None:
                return self._told(before, HTTPStatus.OK)
        wish = Wish(on_conflict=OnConflict.RETURN, requested_by=self.user)
        with own_transaction(services.database()):
            handle = services.enqueue(name, initial, run_id=run_id, wish=wish)
            run = services.find_run(handle.run_id)
            if handle.is_new:
                _record(request, run, "Start")
        # An id that a key has led to is this user's, whatever a rule hides.
        if not handle.is_new and run.run_id != run_id:
            self._check_twin(run)
        run.refresh_from_db(using=services.database())
        return self._told(run, HTTPStatus.ACCEPTED if handle.is_new else HTTPStatus.OK)

    def _check_twin(self, run: Run) -> None:
        if not seen_by(self.user).filter(pk=run.pk).exists():
            raise conflict(
                "duplicate",
                "An open run of somebody else does the same already. Try again when it has ended.",
            )

    def _run_id(self, request: HttpRequest, pipeline: str) -> str | None:
        """The id that a client's own key leads to: the same for a request that is sent again.

        It says nothing about the ids of others, as an id that clients choose would.
        """
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if len(key) not in _KEY_LENGTHS:
            raise malformed("Idempotency-Key has to have 1 to 255 characters.")
        parts = f"{self.user.pk}\n{pipeline}\n{key}"
        return salted_hmac("fluxio_django.views.start", parts, algorithm="sha256").hexdigest()[:40]

    def _told(self, run: Run, status: HTTPStatus) -> HttpResponse:
        headers = {"Location": reverse("fluxio:run", args=[run.run_id])}
        return answer(self._facts([run])[0], status, headers)

    def _facts(self, runs: list[Run]) -> list[dict[str, Any]]:
        interrupted = services.interrupted(runs)
        return [
            representation.run_facts(
                run,
                interrupted=run.pk in interrupted,
                with_values=has_right(self.user, Right.VALUES, run),
            )
            for run in runs
        ]


class Status(Endpoint):
    """One run."""

    def get(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """Where the run is."""
        bodies.read_query(request, ())
        return answer(facts_of(self.user, find(self.user, run_id)))


class History(Endpoint):
    """The rows of a run's log."""

    def get(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """A page of rows, oldest first."""
        query = bodies.read_query(request, ("from",))
        run = find(self.user, run_id)
        first = bodies.number_in(query, "from", default=0, least=0, most=10**9 - 1)
        with_values = has_right(self.user, Right.VALUES, run)
        if first > run.head:
            return answer({"rows": [], "next": None})
        page = read_page(run, first)
        rows = [representation.line_facts(line, with_values=with_values) for line in page.lines]
        return answer({"rows": rows, "next": page.newer})


class Result(Endpoint):
    """What a run ended with."""

    def get(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """The final context, or the part of it that everybody is shown."""
        bodies.read_query(request, ())
        run = find(self.user, run_id)
        shows = open_pipelines()[run.pipeline].shows
        with_values = has_right(self.user, Right.VALUES, run)
        if not with_values and not shows:
            check_right(self.user, Right.VALUES, run)
        if run.status != RunStatus.SUCCEEDED:
            raise conflict("no-result", f"The run is {run.status}; it has no result.")
        _check_size(run)
        values = services.state(run.run_id)
        return answer(
            representation.result_facts(run, values, shows=shows, with_values=with_values)
        )


class Cancel(Endpoint):
    """Where a run is ended."""

    def post(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """Cancel the run: at once where nobody executes it, else as soon as its worker notices."""
        run = find(self.user, run_id)
        check_right(self.user, Right.CANCEL, run)
        body = bodies.read_body(request, ("reason",))
        reason = bodies.text_in(body, "reason", longest=LONGEST_REASON)
        with own_transaction(services.database()):
            services.cancel(run.run_id, reason)
            _record(request, run, "Cancel", reason)
        run.refresh_from_db(using=services.database())
        return answer(facts_of(self.user, run), HTTPStatus.ACCEPTED)


class Resume(Endpoint):
    """Where a run goes on."""

    def post(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """Have a worker go on with the run from its last checkpoint."""
        run = find(self.user, run_id)
        check_right(self.user, Right.RESUME, run)
        body = bodies.read_body(request, ("reason",))
        reason = bodies.text_in(body, "reason", longest=LONGEST_REASON)
        count_start(str(self.user.pk))
        with own_transaction(services.database()):
            services.requeue(run.run_id)
            _record(request, run, "Resume", reason)
        run.refresh_from_db(using=services.database())
        return answer(facts_of(self.user, run), HTTPStatus.ACCEPTED)


class Difference(Endpoint):
    """Two runs side by side."""

    def get(self, request: HttpRequest, run_id: str, other_id: str) -> HttpResponse:
        """What differs between the newest states of two runs."""
        bodies.read_query(request, ())
        runs = [find(self.user, each) for each in (run_id, other_id)]
        for run in runs:
            check_right(self.user, Right.DIFF, run)
            _check_size(run)
        with_values = all(has_right(self.user, Right.VALUES, run) for run in runs)
        found = services.diff(run_id, other_id)
        facts = representation.diff_facts(found, with_values=with_values)
        return answer({"a": run_id, "b": other_id, **facts})


class Pipelines(Endpoint):
    """The pipelines that one may start."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Their names."""
        bodies.read_query(request, ())
        names = [
            name
            for name, pipeline in sorted(open_pipelines().items())
            if pipeline.may_start(self.user) and name in pipelines
        ]
        return answer({"pipelines": names})


def facts_of(user: Any, run: Run) -> dict[str, Any]:
    """A run as this user sees it."""
    return representation.run_facts(
        run,
        interrupted=services.is_interrupted(run),
        with_values=has_right(user, Right.VALUES, run),
    )


def _status(text: str) -> str:
    if text not in list(RunStatus):
        raise malformed(f"'status' has to be one of {', '.join(RunStatus)}.")
    return text


def _check_size(run: Run) -> None:
    if bytes_of_state(run) > MOST_BYTES_OF_STATE:
        raise unfit("The state of the run is too large to be sent. Use the fluxio_show command.")


def _record(request: HttpRequest, run: Run, summary: str, reason: str = "") -> None:
    record(request, run, Deed(summary=summary, reason=reason, number=token_hex(16)))


assert ROWS_PER_PAGE == 100  # said in the description of the API
