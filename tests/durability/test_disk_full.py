"""A database server whose disk is full stops runs, which lose and double nothing for that."""

from __future__ import annotations

import os
import random
import shutil
import string
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections

from fluxio import Context, Pipeline, stage
from fluxio_django import DjangoStore
from fluxio_django.clock import DatabaseTime
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.houses import House
from tests.durability.harness.servers import SERVERS, Server, problem
from tests.proofs.tally import Tally

pytestmark = [
    pytest.mark.durability,
    pytest.mark.soak,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give a server a small disk"),
]

DISK = 400 * 1024 * 1024
ROOM = 4 * 1024 * 1024
"""Bytes that are left on the disk when runs begin."""
LARGE = 400_000
MOST_RUNS = 200


@contextmanager
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fluxio-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], check=True)
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@contextmanager
def served(house: str, folder: Path) -> Iterator[Server]:
    server = SERVERS[house](house, folder)
    server.install()
    server.start()
    try:
        server.create_tables()
        yield server
    finally:
        if server._running().poll() is None:
            server.stop(kill=True)


def booking(house: str) -> DjangoPipeline:
    """A stage that sets what no disk can shorten, one that books, and one that sets more."""

    def large() -> str:
        return "".join(random.choices(string.ascii_letters + string.digits, k=LARGE))

    @stage(version="1")
    def load(ctx: Context) -> Context:
        return ctx.set("loaded", large())

    @stage(version="1", transactional=True)
    def book(ctx: Context) -> Context:
        Group.objects.using(house).create(name=ctx["name"])
        return ctx.set("booked", large())

    @stage(version="1")
    def more(ctx: Context) -> Context:
        return ctx.set("more", large())

    store = DjangoStore(using=house)
    made = Pipeline([load, book, more], durable=True, checkpoint_store=store)
    return made.bound_to(DjangoPipeline, name="disk", store=lambda: store)


def start_until_it_is_full(house: str, pipeline: DjangoPipeline) -> list[str]:
    """Start runs until one fails for want of room, and a few more; gives the ids of all."""
    begun: list[str] = []
    failures = 0
    while failures < 3 and len(begun) < MOST_RUNS:
        begun.append(f"run-{len(begun)}")
        try:
            pipeline.invoke_sync({"name": begun[-1]}, run_id=begun[-1])
        except Exception:
            failures += 1
    assert failures, "the disk was never full"
    return begun


def finish(house: str, pipeline: DjangoPipeline, run_id: str) -> Any:
    """Start a run again, or go on with it, as somebody would who finds it unfinished."""
    runs = Run.objects.using(house).filter(run_id=run_id)
    runs.filter(status="running").update(lease_expires_at=DatabaseTime(-1))
    return pipeline.invoke_sync({"name": run_id}, run_id=run_id, on_conflict="resume")


@pytest.mark.parametrize(
    "house",
    [
        pytest.param("postgres", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def test_soak_a_server_whose_disk_is_full_loses_and_doubles_nothing(
    house: str, tally: Tally, django_db_blocker: Any
) -> None:
    """G20: no commit without room; with room again every run ends, and each is booked once."""
    if reason := problem(house):
        pytest.skip(reason)
    pipeline = booking(house)
    with (
        django_db_blocker.unblock(),
        small_disk() as folder,
        served(house, folder) as server,
        server.reached(),
    ):
        ballast = folder / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - ROOM)
        begun = start_until_it_is_full(house, pipeline)
        ballast.unlink()
        if server._running().poll() is not None:
            server.start()  # PostgreSQL ends itself where it cannot write ahead
        connections[house].close()
        for run_id in begun:
            finish(house, pipeline, run_id)
        runs = Run.objects.using(house)
        ended = set(runs.filter(status="succeeded").values_list("run_id", flat=True))
        booked = sorted(Group.objects.using(house).values_list("name", flat=True))
    wrong = {*begun} ^ ended or booked != sorted(begun)
    tally.add("G20", House(house).title, len(begun), 1 if wrong else 0)
    assert ended == set(begun)
    assert booked == sorted(begun)
