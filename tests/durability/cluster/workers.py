"""Celery workers and a sweeper as processes, and somebody who starts them again when they die."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.durability.cluster.servers import children_of, signalled

ROOT = Path(__file__).parents[3]


class Crew:
    """Workers of `pool` (prefork, threads or solo) and one sweeper; `log` has what they said."""

    def __init__(self, folder: Path, *, pool: str = "prefork", workers: int = 2) -> None:
        self.log = folder / "workers.log"
        self._file = self.log.open("ab")
        self._pool = pool
        self._workers: list[subprocess.Popen[bytes]] = []
        self._wanted = workers
        self._groups: list[int] = []
        self._named = 0
        self._sweeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Crew":
        self.keep_up()
        return self

    def __exit__(self, *_: object) -> None:
        ours = [*self._workers, *([self._sweeper] if self._sweeper else [])]
        for group in [*self._groups, *(process.pid for process in ours)]:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for process in ours:
            process.wait()
        self._file.close()

    def keep_up(self) -> None:
        """Start whatever is missing."""
        self._workers = [one for one in self._workers if one.poll() is None]
        while len(self._workers) < self._wanted:
            self._named += 1
            name = f"w{self._named}@{os.getpid()}"
            options = ["-P", self._pool, "-c", "2", "-n", name, "-l", "WARNING"]
            options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            application = ["-A", "tests.durability.cluster.celery_app"]
            self._workers.append(self._start("celery", *application, "worker", *options))
        if self._sweeper is None or self._sweeper.poll() is not None:
            self._sweeper = self._start("django", "fluxio_recover", "--watch")

    def hands(self) -> list[int]:
        """The processes that execute runs."""
        if self._pool != "prefork":
            return [one.pid for one in self._workers]
        return [pid for one in self._workers for pid in children_of(one.pid)]

    def kill_hand(self) -> bool:
        """Kill one of them."""
        hands = self.hands()
        return bool(hands) and signalled(random.choice(hands), signal.SIGKILL)

    def kill_worker(self) -> bool:
        """Kill a worker, but not its children, and have another one started."""
        victim = random.choice(self._workers)
        done = signalled(victim.pid, signal.SIGKILL)
        victim.wait()
        self._groups.append(victim.pid)  # orphans end by themselves, or with the rest
        self.keep_up()
        return done

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        environment: dict[str, Any] = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.durability.cluster.settings",
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,
        )
