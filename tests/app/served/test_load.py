"""Two hundred people start a run at once and watch it: none is turned away, nothing leaks."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async

from fluxio_django.models import Run
from tests.app.served.server import Answer, Caller, connections_to, serving, settled, signed_in
from tests.app.views.shop import OPEN

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
]

RUNS = "/fluxio/runs/"
BODY = json.dumps({"pipeline": OPEN, "input": {"quantity": 2}}).encode()


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize("at_once", [20, pytest.param(200, marks=pytest.mark.soak)])
async def test_runs_started_at_once_all_succeed(tmp_path: Path, kind: str, at_once: int) -> None:
    log = tmp_path / "server.log"
    with serving(kind, log) as port:
        caller, _ = await sync_to_async(signed_in)(port, "postgres")
        assert (await caller.get(RUNS)).status == 200
        before = await sync_to_async(connections_to)("postgres")
        begun = time.monotonic()
        answers = await asyncio.gather(*(followed(caller) for _ in range(at_once)))
        taken = time.monotonic() - begun
        after = await settled(before)
    statuses = [answer.status for each in answers for answer in each]
    print(f"{kind}: {at_once} at once, {len(statuses)} requests in {taken:.1f} s, ", end="")
    print(f"{len(statuses) / taken:.0f}/s; connections before {before}, after {after}")
    assert set(statuses) <= {200, 202}
    assert after <= before
    assert await Run.objects.using("postgres").filter(status="succeeded").acount() == at_once
    assert log.read_text() == ""


async def followed(caller: Caller) -> list[Answer]:
    """Start a run, and ask for its status until it has succeeded."""
    answers = [await caller.post(RUNS, BODY)]
    address = json.loads(answers[0].body)["links"]["self"]
    async with asyncio.timeout(240):
        while True:
            answers.append(await caller.get(address))
            if json.loads(answers[-1].body)["status"] == "succeeded":
                return answers
            await asyncio.sleep(0.25)
