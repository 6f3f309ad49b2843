"""Database servers of our own, to be stopped, killed and starved as the shared ones must not be."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from tests.durability.harness.houses import House
from tests.durability.harness.nursery import SHARED_MEMORY
from tests.durability.harness.processes import fork

PATIENCE_SECONDS = 60.0
_POSTGRESQL = "/usr/lib/postgresql/*/bin"


class Server(ABC):
    """One server in a folder; `port` is where it listens. It has the users of the shared one."""

    def __init__(self, house: str, folder: Path) -> None:
        self.house = house
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def install(self) -> None:
        """Make what the server keeps its data in."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What runs in the foreground until it is stopped."""

    @abstractmethod
    def end_at_once(self) -> None:
        """Stop it as a power cut would, as far as that can be had."""

    @property
    @abstractmethod
    def polite(self) -> signal.Signals:
        """The signal that stops it without waiting for its clients."""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Stop it; `kill` gives it no time to tidy up."""
        process = self._running()
        if kill:
            self.end_at_once()
        else:
            process.send_signal(self.polite)
        process.wait(PATIENCE_SECONDS)

    def restart(self, *, kill: bool = False) -> None:
        """Stop it and start it."""
        self.stop(kill=kill)
        self.start()

    def create_tables(self) -> None:
        """Make the database of the tests, with all tables in it."""
        fork(self._create_tables).wait(PATIENCE_SECONDS)

    def _create_tables(self) -> None:
        with self.reached():
            connection = connections[self.house]
            with connection._nodb_cursor() as cursor:
                name = connection.ops.quote_name(connection.settings_dict["NAME"])
                cursor.execute(f"CREATE DATABASE {name}")
            call_command("migrate", database=self.house, verbosity=0)
            House(self.house).prepare()

    @contextmanager
    def reached(self) -> Iterator[None]:
        """In this block our connection leads to this server."""
        connection = connections[self.house]
        before = connection.settings_dict["PORT"]
        connection.close()
        connection.settings_dict["PORT"] = self.port
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["PORT"] = before

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "start it first"
        return self._process

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return bool(fork(self._logs_in).wait().said)
        return False

    def _logs_in(self) -> bool:
        with self.reached(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with connections[self.house]._nodb_cursor() as cursor:
                    cursor.execute("SELECT 1")
            except Exception:
                return False
        return True


class PostgreSQLServer(Server):
    """PostgreSQL; it refuses to be run by root, so root runs it as the user it came with."""

    polite = signal.SIGINT

    def install(self) -> None:
        password = connections[self.house].settings_dict["PASSWORD"]
        assert not password, "the own server trusts everybody on this machine"
        user = connections[self.house].settings_dict["USER"]
        self._run("initdb", "-D", self._data, "-U", user, "-A", "trust", "-E", "UTF8", "-N")

    def command(self) -> Sequence[str]:
        options = [f"port={self.port}", "listen_addresses=127.0.0.1", "max_connections=50"]
        flags = [word for option in options for word in ("-c", option)]
        return [*self._as_user(), self._program("postgres"), "-D", self._data, "-k", "", *flags]

    def end_at_once(self) -> None:
        # SIGQUIT: children are killed and nothing is written, so that the next start recovers.
        self._running().send_signal(signal.SIGQUIT)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *words: str) -> None:
        command = [*self._as_user(), self._program(program), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def _as_user(self) -> list[str]:
        if os.getuid():
            return []
        shutil.chown(self.folder, "postgres")
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    @staticmethod
    def _program(name: str) -> str:
        found = sorted(Path("/").glob(f"{_POSTGRESQL[1:]}/{name}"))
        return str(found[-1]) if found else (shutil.which(name) or name)


class MariaDBServer(Server):
    """MariaDB."""

    polite = signal.SIGTERM

    def install(self) -> None:
        shutil.chown(self.folder, "mysql")
        words = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *self._place, *words],
            check=True,
            capture_output=True,
        )

    def command(self) -> Sequence[str]:
        return [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd",
            "--no-defaults",
            *self._place,
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--skip-name-resolve",
        ]

    def end_at_once(self) -> None:
        self._running().kill()

    @property
    def _place(self) -> list[str]:
        return [f"--datadir={self.folder / 'data'}", "--user=mysql"]


SERVERS = {"postgres": PostgreSQLServer, "mariadb": MariaDBServer}


def problem(house: str) -> str:
    """Why this machine cannot run a server of its own for a database; "" where it can."""
    program = "postgres" if house == "postgres" else "mariadbd"
    folders = [*Path("/").glob(_POSTGRESQL[1:]), Path("/usr/sbin")]
    found = shutil.which(program) or any((folder / program).exists() for folder in folders)
    return "" if found else f"{program} is not installed"


@contextmanager
def own_server(house: str) -> Iterator[Server]:
    """A server with the tests' tables in it, running, until the block ends."""
    assert house in settings.DATABASES
    # Not among the other temporary files, which the server's own user may not see.
    memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else "/tmp"
    with tempfile.TemporaryDirectory(prefix=f"fluxio-{house}-", dir=memory) as folder:
        Path(folder).chmod(0o755)
        server = SERVERS[house](house, Path(folder))
        server.install()
        server.start()
        try:
            server.create_tables()
            yield server
        finally:
            if server._running().poll() is None:
                server.stop(kill=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
