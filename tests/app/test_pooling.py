"""Behind a pooler, where every transaction may have another connection, nothing is missed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from fluxio import Context, stage
from fluxio.pipeline import Pipeline
from fluxio_django import DjangoStore
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from tests.needs import POSTGRESQL, connection_settings

POOLER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
    pytest.mark.skipif(POOLER is None, reason="pgbouncer is not installed"),
]

# A pooler that forgets also loses what outlives a transaction on a connection that stays the same.
FORGETS = "server_reset_query = DISCARD ALL\nserver_reset_query_always = 1\n"


@pytest.fixture(params=["", FORGETS], ids=["remembers", "forgets"])
def pooled(request: pytest.FixtureRequest) -> Iterator[str]:
    """The alias of a database that is reached through two pooled connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = connection_settings(POSTGRESQL.location)
    folder = Path(tempfile.mkdtemp(prefix="fluxio_pooler_"))
    target = f"host={server['HOST']} port={server['PORT']} user={server['USER']}"
    target += f" password={server['PASSWORD']}" if server["PASSWORD"] else ""
    (folder / "pooler.ini").write_text(
        f"[databases]\n* = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
        f"{request.param}"
    )
    folder.chmod(0o755)
    as_user = ["-u", "nobody"] if os.getuid() == 0 else []
    command = [str(POOLER), *as_user, str(folder / "pooler.ini")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "process up" not in said:
        said = process.stderr.readline()
        assert said, "the pooler did not start"
    given = connections.settings["postgres"]
    directly = given["HOST"], given["PORT"]
    connections["postgres"].close()
    given.update(HOST="127.0.0.1", PORT=port)
    try:
        yield "postgres"
    finally:
        connections["postgres"].close()
        given.update(HOST=directly[0], PORT=directly[1])
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)


def pipeline(alias: str) -> DjangoPipeline:
    @stage(version="1")
    def reserve(ctx: Context) -> Context:
        return ctx.set("reserved", True)

    @stage(version="1", transactional=True)
    def book(ctx: Context) -> Context:
        Group.objects.using(alias).create(name=ctx["name"])
        return ctx.set("booked", True)

    store = DjangoStore(using=alias)
    made = Pipeline([reserve, book, stage(name="again", version="1")(reserve)], durable=True)
    return made.bound_to(DjangoPipeline, name="pooled", store=lambda: store)


def test_runs_and_the_commands_that_look_at_them_work_behind_a_pooler(pooled: str) -> None:
    orders = pipeline(pooled)

    def work(thread: int) -> None:
        for number in range(3):
            name = f"{thread}-{number}"
            orders.invoke_sync({"name": name}, run_id=name)
        connections[pooled].close()

    async def many() -> None:
        await asyncio.gather(*(orders.invoke({"name": f"m{n}"}, run_id=f"m{n}") for n in range(9)))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    async_to_sync(many)()
    runs = Run.objects.using(pooled)
    assert runs.filter(status="succeeded").count() == 21
    assert Group.objects.using(pooled).count() == 21
    assert len(list(runs.newest_first(at_once=2))) == 21
    with override_settings(FLUXIO={"DATABASE": pooled}):
        call_command("fluxio_verify")
        call_command("fluxio_runs")
