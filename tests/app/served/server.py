"""A real server in a process of its own, and a small client that asks it many things at once."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connections
from django.utils import timezone

from tests.settings import TEST_DATABASE

ROOT = Path(__file__).resolve().parents[3]
HOST = "127.0.0.1"
SECONDS_TO_START = 30
SECONDS_TO_ANSWER = 60
TOKEN = "t" * 32

COMMANDS = {
    "asgi": [
        "uvicorn", "--fd", "{fd}", "--log-level", "warning", "tests.app.served.applications:asgi",
    ],
    "wsgi": [
        "gunicorn", "--bind", "fd://{fd}", "--threads", "8", "--log-level", "warning",
        "--timeout", "120", "tests.app.served.applications:wsgi",
    ],
}  # fmt: skip


@contextmanager
def serving(kind: str, log: Path) -> Iterator[int]:
    """Serve the test project through ASGI (uvicorn) or WSGI (gunicorn); gives the port."""
    listener = socket.create_server((HOST, 0), backlog=1024)
    command = [part.format(fd=listener.fileno()) for part in COMMANDS[kind]]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.app.served.server_settings",
                "SERVED_AS": kind,
            },
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        # The socket listens already: what is sent now waits until the server is there.
        yield listener.getsockname()[1]
    finally:
        listener.close()
        process.terminate()
        try:
            process.wait(SECONDS_TO_START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def session_of(user: User, alias: str) -> str:
    """A session in which a user is signed in; gives its key."""
    data = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    key = secrets.token_hex(16)
    Session.objects.using(alias).create(
        session_key=key,
        session_data=SessionStore().encode(data),
        expire_date=timezone.now() + timedelta(hours=1),
    )
    return key


def connections_to(alias: str, mine: int = 1) -> int:
    """How many connections others have to the test database, by the server's own count."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [TEST_DATABASE])
        return int(cursor.fetchone()[0]) - mine


async def settled(wanted: int) -> int:
    """How many connections there are once the last requests have closed theirs."""
    count = await sync_to_async(connections_to)("postgres")
    for _ in range(900):
        if count <= wanted:
            break
        await asyncio.sleep(0.05)
        count = await sync_to_async(connections_to)("postgres")
    return count


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests of somebody who is signed in, each over a connection of its own."""

    port: int
    session: str

    async def get(self, path: str) -> Answer:
        """Ask for something."""
        return await self._exchange(self._request("GET", path, b""))

    async def post(self, path: str, body: bytes) -> Answer:
        """Send JSON."""
        return await self._exchange(self._request("POST", path, body))

    async def open(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for something that does not end, past its headers."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write(self._request("GET", path, b""))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        return reader, writer

    async def _exchange(self, request: bytes) -> Answer:
        async with asyncio.timeout(SECONDS_TO_ANSWER):
            reader, writer = await asyncio.open_connection(HOST, self.port)
            writer.write(request)
            received = await reader.read()
            writer.close()
        head, _, body = received.partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]), body)

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {HOST}",
            f"Cookie: sessionid={self.session}; csrftoken={TOKEN}",
            f"X-CSRFToken: {TOKEN}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def signed_in(port: int, alias: str, name: str = "ada") -> tuple[Caller, Any]:
    """Somebody new who calls the server."""
    user = User(username=name)
    user.set_unusable_password()
    user.save(using=alias)
    return Caller(port, session_of(user, alias)), user
