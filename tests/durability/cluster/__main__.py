"""`python -m tests.durability.cluster '{"trial": ..., "options": ...}'`: plays one, prints JSON."""

import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.durability.cluster.servers import OwnPostgres, OwnRedis
from tests.needs import POSTGRESQL, RABBITMQ


def main() -> None:
    """Start what is asked for, play, and leave nothing behind."""
    order = json.loads(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="fluxio-cluster-"))
    with ExitStack() as servers:
        own = servers.enter_context(OwnPostgres()) if order.get("own_database") else None
        name = f"fluxio_cluster_{token_hex(4)}"
        broker = order.get("broker", "redis")
        redis = servers.enter_context(OwnRedis()) if broker == "redis" else None
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.durability.cluster.settings",
            "FLUXIO_CLUSTER_DATABASE": _database(own.url if own else POSTGRESQL.location, name),
            "FLUXIO_CLUSTER_BROKER": redis.url if redis else RABBITMQ.location,
            "FLUXIO_CLUSTER_QUEUE": name,
            "FLUXIO_CLUSTER_EFFECTS": str(folder / "effects"),
            "FLUXIO_CLUSTER_FLUXIO": json.dumps(
                {
                    "DISPATCHER": "celery",
                    "LEASE_SECONDS": 3.0,
                    "SWEEP_SECONDS": 1.0,
                    "MAX_TAKEOVERS": 3 if order["trial"] == "poison" else 1000,
                }
            ),
        }
        if redis:
            os.environ["FLUXIO_CLUSTER_RESULTS"] = redis.url
        report = _play(order, folder, redis, own)
        if redis is None:
            _delete_queue(name)
        if own is None:
            _drop(POSTGRESQL.location, name)
    report["log"] = (folder / "workers.log").read_text(errors="replace")[-4000:]
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report))


def _play(
    order: dict[str, Any], folder: Path, redis: OwnRedis | None, own: OwnPostgres | None
) -> dict[str, Any]:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from tests.durability.cluster.celery_app import app
    from tests.durability.cluster.trials import Site, play

    app.set_current()
    call_command("migrate", verbosity=0)
    try:
        site = Site(folder, folder / "effects", redis, own)
        return play(site, order["trial"], order.get("options", {}))
    finally:
        connections.close_all()


def _database(url: str, name: str) -> str:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{url.rpartition('/')[0]}/{name}"


def _drop(url: str, name: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _delete_queue(name: str) -> None:
    from celery import current_app

    with current_app.connection_for_write() as broker:
        broker.default_channel.queue_delete(name)


if __name__ == "__main__":
    main()
