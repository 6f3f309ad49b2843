"""Hundreds of idle streams hold neither connections to the database nor anybody else up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from fluxio_django.models import Run
from tests.app.served.server import Caller, connections_to, serving, settled, signed_in
from tests.app.views.shop import OPEN

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
]

RUNS = "/fluxio/runs/"


async def until(reader: asyncio.StreamReader, wanted: bytes) -> None:
    """Read until an event comes."""
    async with asyncio.timeout(60):
        received = b""
        while wanted not in received:
            part = await reader.read(65536)
            assert part, received
            received += part


@pytest.mark.security(21)
@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.soak)])
async def test_idle_streams_do_not_block_others(tmp_path: Path, count: int) -> None:
    log = tmp_path / "server.log"
    with serving("asgi", log) as port:
        caller, user = await sync_to_async(signed_in)(port, "postgres")
        await sync_to_async(Run.objects.using("postgres").create)(
            run_id="idle", pipeline=OPEN, status="queued", requested_by_id=user.pk
        )
        before = await sync_to_async(connections_to)("postgres")
        streams = await open_streams(caller, count)
        assert (await sync_to_async(connections_to)("postgres")) - before <= 25
        for answer in await asyncio.gather(*(caller.get(f"{RUNS}idle/") for _ in range(20))):
            assert answer.status == 200
        await started_and_ended(caller)
        await Run.objects.using("postgres").filter(run_id="idle").aupdate(status="cancelled")
        await asyncio.gather(*(until(reader, b"event: end") for reader, _ in streams))
        for _, writer in streams:
            writer.close()
        refused = [await caller.get(f"{RUNS}idle/") for _ in range(3)]
        assert [answer.status for answer in refused] == [200] * 3
    assert log.read_text() == ""
    assert await settled(before) == before


async def open_streams(caller: Caller, count: int) -> list[Any]:
    streams: list[Any] = []
    for _ in range(count // 25):
        streams += await asyncio.gather(*(caller.open(f"{RUNS}idle/events/") for _ in range(25)))
    await asyncio.gather(*(until(reader, b"event: run") for reader, _ in streams))
    return streams


async def started_and_ended(caller: Caller) -> None:
    body = json.dumps({"pipeline": OPEN, "input": {"quantity": 2}}).encode()
    started = await caller.post(RUNS, body)
    assert started.status == 202, started
    address = json.loads(started.body)["links"]["self"]
    async with asyncio.timeout(60):
        while json.loads((await caller.get(address)).body)["status"] != "succeeded":
            await asyncio.sleep(0.05)
