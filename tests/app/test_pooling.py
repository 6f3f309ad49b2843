"""With a pool of connections, outside the process or in it, nothing is missed and none is kept."""

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
from psycopg_pool import ConnectionPool

from fluxio import Context, stage
from fluxio.pipeline import Pipeline
from fluxio_django import DjangoStore
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.tables import Tables
from tests.needs import PGBOUNCER, POSTGRESQL, connection_settings

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
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
    command = [PGBOUNCER.location, *as_user, str(folder / "pooler.ini")]
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


def work_in_threads_and_loops(alias: str) -> None:
    """Execute 21 runs, in threads that close their connections and side by side in a loop."""
    orders = pipeline(alias)

    def work(thread: int) -> None:
        for number in range(3):
            name = f"{thread}-{number}"
            orders.invoke_sync({"name": name}, run_id=name)
        connections[alias].close()

    async def many() -> None:
        await asyncio.gather(*(orders.invoke({"name": f"m{n}"}, run_id=f"m{n}") for n in range(9)))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    async_to_sync(many)()
    assert Run.objects.using(alias).filter(status="succeeded").count() == 21
    assert Group.objects.using(alias).count() == 21


@pytest.mark.pgbouncer
def test_runs_and_the_commands_that_look_at_them_work_behind_a_pooler(pooled: str) -> None:
    work_in_threads_and_loops(pooled)
    runs = Tables(pooled).runs
    assert len(list(runs.newest_first(at_once=2))) == 21
    with override_settings(FLUXIO={"DATABASE": pooled}):
        call_command("fluxio_verify")
        call_command("fluxio_runs")


@pytest.fixture
def own_pool() -> Iterator[ConnectionPool]:
    """psycopg's pool of two connections, for which Django asks in its settings."""
    connection = connections["postgres"]
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        for settings in (connection.settings_dict, connections.settings["postgres"]):
            options = {"pool": {"min_size": 1, "max_size": 2, "timeout": 20}}
            patch.setitem(settings, "OPTIONS", {**settings["OPTIONS"], **options})
        yield connection.pool
        connection.close()
        connection.close_pool()


def test_runs_work_with_psycopgs_own_pool_and_keep_none_of_its_connections(
    own_pool: ConnectionPool,
) -> None:
    work_in_threads_and_loops("postgres")
    connections["postgres"].close()
    counted = own_pool.get_stats()
    assert counted["requests_num"] >= 5  # four threads, and the loop
    assert counted.get("requests_errors", 0) == 0
    assert counted["pool_available"] == counted["pool_size"] <= 2
