"""What a cluster needs around it: a database and a broker, running already or started for it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from urllib.parse import urlsplit

LIMIT_SECONDS = 120.0


@contextmanager
def surroundings() -> Iterator[list[str]]:
    """Sets the environment that the project's settings read; gives what it chose, in words.

    REDIS_URL and DATABASE_URL name other servers than those that answer on this machine. What was
    started or made is gone at the end.
    """
    name = f"fluxio_cluster_{token_hex(4)}"
    with _redis() as (broker, redis), _database(name) as (database, home):
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "CELERY_BROKER_URL": broker,
            "CELERY_QUEUE": name,
            "CELERY_KEY_PREFIX": f"{name}:",
            "LEASE_SECONDS": "5",
            "SWEEP_SECONDS": "1",
            "DATABASE_URL": database,
        }
        try:
            yield [f"database: {home}", f"broker:   {redis}"]
        finally:
            _forget_messages(broker, name)


@contextmanager
def _redis() -> Iterator[tuple[str, str]]:
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    parts = urlsplit(url)
    if _answers(parts.hostname or "127.0.0.1", parts.port or 6379):
        yield url, f"the Redis that answers at {parts.hostname}:{parts.port}"
        return
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit(
            f"No Redis answers at {url}, and there is no redis-server to start. Install Redis, or "
            "name one in REDIS_URL."
        )
    port, folder = free_port(), tempfile.mkdtemp()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    process = subprocess.Popen(
        [program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        wait_until_answering(port)
        yield f"redis://127.0.0.1:{port}/0", f"a Redis of its own, on port {port}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database(name: str) -> Iterator[tuple[str, str]]:
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given, "what DATABASE_URL says"
        return
    server = "postgres://postgres@127.0.0.1:5432"
    if _make(f"{server}/postgres", f"CREATE DATABASE {name}"):
        try:
            yield f"{server}/{name}", f"{name} in the PostgreSQL of this machine"
        finally:
            _make(f"{server}/postgres", f"DROP DATABASE {name} WITH (FORCE)")
        return
    folder = tempfile.mkdtemp()
    try:
        yield f"sqlite:///{folder}/shop.sqlite3", "SQLite, since no PostgreSQL lets us in"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(url: str, statement: str) -> bool:
    try:
        import psycopg
    except ImportError:
        return False
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
    except psycopg.Error:
        return False
    return True


def _forget_messages(broker: str, queue: str) -> None:
    """Remove what is left of ours in a broker that others use as well."""
    import redis

    with suppress(redis.RedisError), redis.Redis.from_url(broker) as client:
        for key in client.scan_iter(f"{queue}:*"):
            client.delete(key)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_answering(port: int) -> None:
    """Return once somebody listens on a port of this machine.

    Raises:
        TimeoutError: nobody does.
    """
    deadline = time.monotonic() + LIMIT_SECONDS
    while not _answers("127.0.0.1", port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Nothing answers on port {port}.")
        time.sleep(0.05)
