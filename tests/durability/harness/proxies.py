"""A proxy between Django and its database that loses one answer, and the connection with it."""

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Self

CHUNK = 65536

IsRequest = Callable[[bytes], bool]


def is_postgresql_request(data: bytes) -> bool:
    """Whether bytes from a client begin a query: simple (Q), or extended (P)."""
    return data[:1] in (b"Q", b"P")


def is_mysql_request(data: bytes) -> bool:
    """Whether bytes from a client begin a command; what belongs to the login is numbered."""
    return len(data) > 4 and data[3] == 0


@dataclass(frozen=True)
class Lost:
    """The request whose answer was lost; `commits` says that it made something of ours durable."""

    request: bytes
    commits: bool


class AnswerLoser:
    """Passes everything on but the answer to one request, which was carried out by then.

    `lose` counts requests from 1, over all connections; 0 loses none. `lost` is the request whose
    answer was lost, and `requests` how many there were.
    """

    def __init__(self, target: tuple[str, int], is_request: IsRequest, lose: int) -> None:
        self.requests = 0
        self.lost: Lost | None = None
        self._target = target
        self._is_request = is_request
        self._lose = lose
        self._lock = Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[Thread] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *values: object) -> None:
        thread = Thread(target=work, args=values, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            pair = _Pair(client, server)
            self._start(self._pass_requests, pair)
            self._start(self._pass_answers, pair)

    def _pass_requests(self, pair: "_Pair") -> None:
        with pair:
            while data := pair.client.recv(CHUNK):
                if self._is_request(data):
                    self._count(data, pair)
                pair.server.sendall(data)

    def _pass_answers(self, pair: "_Pair") -> None:
        with pair:
            while data := pair.server.recv(CHUNK):
                if pair.loses:
                    return
                pair.client.sendall(data)

    def _count(self, data: bytes, pair: "_Pair") -> None:
        ends = b"COMMIT" in data
        pair.in_transaction = (pair.in_transaction or b"BEGIN" in data) and not ends
        with self._lock:
            self.requests += 1
            if self.requests == self._lose:
                pair.loses = True
                self.lost = Lost(data, ends or (b"WITH proof" in data and not pair.in_transaction))


class _Pair:
    """Both ends of one connection; leaving it closes both."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.loses = self.in_transaction = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        return kind is not None and issubclass(kind, OSError)
