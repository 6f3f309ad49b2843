"""What the workers under proof execute; each effect is one line in a file, or one in a ledger."""

import asyncio
import os
import random
import signal
import time

from django.db import connection

from fluxio import Context, Pipeline, current_step, stage
from fluxio_django import Limits, register
from tests.durability.cluster import celery_app  # noqa: F401 - as a project's __init__.py does

LEDGER = "fluxio_cluster_ledger"
_FILE = os.open(os.environ["FLUXIO_CLUSTER_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(what: str) -> None:
    """One line, in one write, so that those of several processes never mix."""
    os.write(_FILE, f"{current_step().run_id} {what} {os.getpid()}\n".encode())


@stage(version="1")
def reserve(ctx: Context) -> Context:
    note("reserve")
    return ctx.set("reserved", True)


@stage(version="1", transactional=True)
def book(ctx: Context) -> Context:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {LEDGER} (run_id, amount) VALUES (%s, 1)", [current_step().run_id]
        )
    return ctx.set("booked", True)


@stage(version="1")
async def pack(ctx: Context) -> Context:
    await asyncio.sleep(ctx["seconds"] * random.random())
    return ctx.set("packed", True)


@stage(version="1")
def ship(ctx: Context) -> Context:
    note("ship")
    return ctx.set("shipped", ctx["note"])


@stage(version="1")
def kill(ctx: Context) -> Context:
    note("kill")
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return ctx


@stage(version="1")
def devour(ctx: Context) -> Context:
    note("devour")
    held = []
    while True:  # until whoever guards the memory of this machine ends the process
        held.append(bytearray(10_000_000))
        time.sleep(0.005)


@stage(version="1")
async def linger(ctx: Context) -> Context:
    note("linger")
    await asyncio.sleep(600)
    return ctx


@stage(version="1")
def count_up(ctx: Context) -> Context:
    note("enter")
    time.sleep(0.05)
    note("leave")
    return ctx


register("cluster.order", Pipeline([reserve, book, pack, ship], durable=True))
register("cluster.poison", Pipeline([reserve, kill, ship], durable=True))
register("cluster.hungry", Pipeline([reserve, devour, ship], durable=True))
register("cluster.endless", Pipeline([reserve, linger, ship], durable=True))
register("cluster.narrow", Pipeline([count_up], durable=True), limits=Limits(concurrency=1))
