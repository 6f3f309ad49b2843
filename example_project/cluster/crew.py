"""The processes of the cluster: a Celery worker with two children, the sweeper, the web server."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from example_project.cluster.surroundings import free_port, wait_until_answering

ROOT = Path(__file__).resolve().parents[2]
LONGEST_WITHOUT_PROCESSES = 30.0
"""Seconds a worker may take to start its processes, or to replace those that were killed."""


class Crew:
    """Starts them, starts anew whatever has died, and kills them all in the end.

    `killed` counts what was killed on the way: processes of the worker, and whole workers.
    `replaced` counts the workers that were alive and had no processes any more.
    """

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.port = free_port()
        self.killed = {"processes": 0, "workers": 0}
        self.replaced = 0
        self.log = log
        self._clock = clock
        self._seen_at_work = clock()
        self._file = log.open("wb")
        self._crew: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: list[int] = []
        self._kills = 0

    def __enter__(self) -> Self:
        try:
            self.keep_up()
            wait_until_answering(self.port)
        except BaseException:  # told to end, perhaps: then nobody else will end those that run
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for process in self._crew.values():
            process.wait()
        self._file.close()

    def keep_up(self) -> None:
        """Start whatever does not run."""
        for name, words in self._commands().items():
            if name not in self._crew or self._crew[name].poll() is not None:
                self._crew[name] = self._start(*words)

    def see_to_worker(self) -> None:
        """Replace a worker that has been without processes for too long: it executes nothing."""
        now = self._clock()
        if self._children():
            self._seen_at_work = now
        elif now - self._seen_at_work > LONGEST_WITHOUT_PROCESSES:
            self._crew["worker"].kill()
            self._crew["worker"].wait()
            self.replaced += 1
            self._seen_at_work = now
            self.keep_up()

    def kill_one(self) -> None:
        """SIGKILL a process that executes runs, every fourth time the worker it belongs to."""
        children = self._children()
        if not children:
            return
        self._kills += 1
        if self._kills % 4 == 0:
            self._crew["worker"].kill()
            self._crew["worker"].wait()
            self.killed["workers"] += 1
        else:
            with suppress(ProcessLookupError):
                os.kill(random.choice(children), signal.SIGKILL)
                self.killed["processes"] += 1
        self.keep_up()

    def is_serving(self) -> bool:
        """Whether the shop answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def _commands(self) -> dict[str, list[str]]:
        worker = ["celery", "-A", "example_project", "worker", "--concurrency", "2"]
        quiet = ["--loglevel", "ERROR", "--without-gossip", "--without-mingle"]
        web = ["uvicorn", "example_project.asgi:application", "--log-level", "warning"]
        return {
            "worker": [*worker, *quiet, "--hostname", f"cluster@{random.getrandbits(32):x}"],
            "sweeper": ["django", "fluxio_recover", "--watch"],
            "web": [*web, "--port", str(self.port), "--lifespan", "off"],
        }

    def _children(self) -> list[int]:
        pid = self._crew["worker"].pid
        try:
            return [
                int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            ]
        except OSError:
            return []

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,
        )
        self._groups.append(process.pid)
        return process
