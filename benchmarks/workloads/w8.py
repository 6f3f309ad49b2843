"""W8: the pages of the admin over a million finished runs, each as a person would ask for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from statistics import quantiles
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks.million import ALIAS, PIPELINE, RUNS, million
from benchmarks.workload import Workload
from fluxio_django.models import Run

LIST = "/admin/fluxio_django/run/"
VERSIONS = "/admin/fluxio_django/pipelineversion/"
TIMES = 10
"""How often each page is asked for in a round."""


class Visitor:
    """Somebody who may see everything, and what the visits took."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._client = Client()
        self._pages: dict[str, str] = {}
        self.seconds: dict[str, list[float]] = {}

    def come(self) -> None:
        """Make the runs where there are none, and sign in; once."""
        if self._pages:
            return
        self._stack.enter_context(million())
        self._client.force_login(User.objects.create_superuser("visitor"))
        self._pages = pages()

    def slowest(self) -> float:
        """Visit every page; gives the worst p95 of all pages so far, in milliseconds."""
        self.come()
        for name, address in self._pages.items():
            spent = self.seconds.setdefault(name, [])
            spent += [self._visit(address) for _ in range(TIMES)]
        return max(p95(spent) for spent in self.seconds.values()) * 1_000

    def most_queries(self) -> float:
        """The queries of the page that needs most."""
        self.come()
        return max(self._queries(address) for address in self._pages.values())

    def floor(self) -> float:
        """The admin's own first page, which asks for nothing of ours; p95 in milliseconds."""
        self.come()
        return p95([self._visit("/admin/") for _ in range(TIMES)]) * 1_000

    def floor_queries(self) -> float:
        """The queries of that page."""
        self.come()
        return self._queries("/admin/")

    def facts(self) -> Mapping[str, str]:
        """p95 of each page and how many queries it makes."""
        return {
            name: f"{p95(self.seconds[name]) * 1_000:.0f} ms, {self._queries(address)} queries"
            for name, address in self._pages.items()
        }

    def leave(self) -> None:
        """Let the runs be where they were."""
        self._stack.close()
        self._pages = {}

    def _visit(self, address: str) -> float:
        began = time.perf_counter()
        answer = self._client.get(address)
        spent = time.perf_counter() - began
        assert answer.status_code == 200, (address, answer.status_code)
        return spent

    def _queries(self, address: str) -> int:
        people, runs = (CaptureQueriesContext(each) for each in (connection, connections[ALIAS]))
        with people, runs:
            self._visit(address)
        return len(people) + len(runs)


def p95(seconds: list[float]) -> float:
    """The time that 19 of 20 visits stay below."""
    return quantiles(seconds, n=20, method="inclusive")[-1]


def pages() -> dict[str, str]:
    """Every page, and the list with each of its filters."""
    runs = Run.objects.using(ALIAS)
    shown = runs.get(run_id="shown-0").pk
    failed = runs.filter(run_id__startswith="order-", status="failed").first()
    assert failed is not None
    middle = runs.get(run_id=f"order-{RUNS // 2}")
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=100)
    listed: dict[str, Mapping[str, Any]] = {
        "list": {},
        **{f"status {each}": {"status": each} for each in ("failed", "dead", "succeeded")},
        "interrupted": {"status": "interrupted"},
        "pipeline": {"pipeline": "bench.7"},
        "pipeline that never ran": {"pipeline": "bench.none"},
        "pipeline, failed": {"pipeline": PIPELINE, "status": "failed"},
        "pipeline, dead": {"pipeline": "bench.3", "status": "dead"},
        "version": {"pipeline": failed.pipeline, "version": failed.version},
        "error": {"error_type": "ValueError"},
        "error, pipeline": {"error_type": "KeyError", "pipeline": "bench.9"},
        "error that never was": {"error_type": "NoSuchError"},
        "a day": {"created_at__gte": day, "created_at__lt": day + timedelta(days=1)},
        "a day, failed": {
            "created_at__gte": day,
            "created_at__lt": day + timedelta(days=1),
            "status": "failed",
        },
        "search": {"q": "order-5000"},
        "search for nothing": {"q": "nowhere"},
        "search, failed": {"q": "order-", "status": "failed"},
        "oldest first": {"o": "5"},
        "from the middle": {"p": f"after_{middle.pk}_{middle.created_at.isoformat()}"},
        "from the middle, failed": {
            "p": f"after_{middle.pk}_{middle.created_at.isoformat()}",
            "status": "failed",
        },
    }
    return {
        **{name: f"{LIST}?{urlencode(query)}" for name, query in listed.items()},
        "run": f"{LIST}{shown}/change/",
        "run that failed": f"{LIST}{failed.pk}/change/",
        "state": f"{LIST}state/?run={shown}",
        "two states": f"{LIST}state/?run={shown}&at=2&beside=5",
        "replay": f"{LIST}replay/?run={shown}",
        "fork": f"{LIST}fork/?run={shown}",
        "diff": f"{LIST}diff/?run={shown}",
        "redrive": f"{LIST}redrive/?pipeline={PIPELINE}&status=failed",
        "queues": "/admin/fluxio_django/queue/",
        "versions": VERSIONS,
        "pipelines": f"{VERSIONS}pipelines/",
        "pipeline's page": f"{VERSIONS}pipeline/?pipeline={PIPELINE}",
    }


def workloads() -> list[Workload]:
    """W8; on PostgreSQL, which makes the runs."""
    if connection.vendor != "postgresql":
        return []
    visitor = Visitor()
    return [
        Workload(
            name="W8",
            title=f"the slowest page of the admin over {RUNS:,} finished runs, p95",
            unit="ms",
            ours=visitor.slowest,
            floor=visitor.floor,
            floor_title="the first page of Django's admin",
            goal="<= 300 ms",
            facts=visitor.facts,
        ),
        Workload(
            name="W8-queries",
            title="the queries of the page that makes most",
            unit="queries",
            ours=visitor.most_queries,
            floor=visitor.floor_queries,
            floor_title="the first page of Django's admin",
            goal="<= 12 queries",
            close=visitor.leave,
        ),
    ]
