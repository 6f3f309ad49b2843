"""What tests may need from outside, by marker name: where it is, and whether it can be used."""

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

# The drivers are imported where they are used: one that is not installed is an unmet need as well,
# and settings that only talk to SQLite should not pay for the others.

TIMEOUT_SECONDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Something outside this process that a marked test cannot do without."""

    marker: str
    location: str
    use: Callable[[str], None]

    def problem(self) -> str:
        """Say why this cannot be used, or return "" when it can.

        It is tried once. The answer is left in the environment, so that the processes a test
        starts agree with it and need not try again.
        """
        answer = f"FLUXIO_TEST_{self.marker.upper()}_PROBLEM"
        if answer not in os.environ:
            os.environ[answer] = self._try()
        return os.environ[answer]

    def _try(self) -> str:
        try:
            self.use(self.location)
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason given"
            return f"{type(error).__name__}: {reason}"
        return ""


def split(url: str) -> SplitResult:
    """Split a server's URL after making sure that something listens there.

    Raises:
        OSError: nothing does. Drivers would take longer to find out and say it less clearly.
    """
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_SECONDS):
        return parts


def connection_settings(url: str) -> dict[str, str | int]:
    """Return what a URL says, under the names that Django's ``DATABASES`` uses."""
    parts = urlsplit(url)
    return {
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": parts.path.lstrip("/"),
    }


def log_in_to_postgresql(url: str) -> None:
    """Open and close a PostgreSQL session."""
    split(url)
    import psycopg

    psycopg.connect(url, connect_timeout=TIMEOUT_SECONDS).close()


def log_in_to_mariadb(url: str) -> None:
    """Open and close a MariaDB session."""
    parts = split(url)
    import MySQLdb

    MySQLdb.connect(
        host=parts.hostname,
        port=parts.port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        connect_timeout=TIMEOUT_SECONDS,
    ).close()


def log_in_to_redis(url: str) -> None:
    """Exchange a ping with Redis."""
    split(url)
    import redis

    with redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS) as client:
        client.ping()


def log_in_to_rabbitmq(url: str) -> None:
    """Open and close a RabbitMQ connection."""
    parts = split(url)
    import amqp

    with amqp.Connection(
        host=f"{parts.hostname}:{parts.port}",
        userid=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        virtual_host=unquote(parts.path[1:]) or "/",
        connect_timeout=TIMEOUT_SECONDS,
    ):
        pass


def find_program(path: str) -> None:
    """Make sure that a program can be started."""
    if shutil.which(path) is None:
        raise FileNotFoundError(path)


def find_file(path: str) -> None:
    """Make sure that a file is there."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: make .axe/axe.min.js")


POSTGRESQL = Need(
    marker="postgresql",
    location=os.environ.get(
        "FLUXIO_TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"
    ),
    use=log_in_to_postgresql,
)
MARIADB = Need(
    marker="mariadb",
    location=os.environ.get("FLUXIO_TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test"),
    use=log_in_to_mariadb,
)
REDIS = Need(
    marker="redis",
    location=os.environ.get("FLUXIO_TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
    use=log_in_to_redis,
)
RABBITMQ = Need(
    marker="rabbitmq",
    location=os.environ.get("FLUXIO_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
    use=log_in_to_rabbitmq,
)
BROWSER = Need(
    marker="browser",
    location=os.environ.get("FLUXIO_TEST_CHROMIUM", "/usr/bin/chromium"),
    use=find_program,
)
PGBOUNCER = Need(
    marker="pgbouncer",
    location=os.environ.get("FLUXIO_TEST_PGBOUNCER", "/usr/sbin/pgbouncer"),
    use=find_program,
)
AXE = Need(
    marker="axe",
    location=os.environ.get(
        "FLUXIO_TEST_AXE", str(Path(__file__).resolve().parents[1] / ".axe" / "axe.min.js")
    ),
    use=find_file,
)

NEEDS = {
    need.marker: need for need in (POSTGRESQL, MARIADB, REDIS, RABBITMQ, BROWSER, PGBOUNCER, AXE)
}
