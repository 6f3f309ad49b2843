"""Forked processes: each does one thing, says one thing, and can be frozen or killed meanwhile."""

import faulthandler
import fcntl
import json
import os
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 60.0
"""After this a process hangs for certain."""
MOST_SAID = 1 << 20
"""In bytes; it is heard only when the process has ended, so a pipe has to hold it."""


class HangError(Exception):
    """A process did not do what it was waited for; it is killed later, by `end_all`."""


_alive: dict[int, "Child"] = {}


@dataclass(kw_only=True)
class Child:
    """A process that was forked. `killed` and `said` are known once it has ended.

    `said` is what its function returned, and None where it was killed before.
    """

    pid: int
    answer: int
    trace: Path
    killed: bool = False
    said: Any = None

    def wait(self, limit: float = LIMIT_SECONDS) -> "Child":
        """Wait for its end.

        Raises:
            HangError: it does not come.
        """
        if not self.ends_within(limit):
            raise HangError(f"A process did not end within {limit:g} s. {all_stacks()}")
        _, status = os.waitpid(self.pid, 0)
        _alive.pop(self.pid, None)
        self.trace.unlink()
        self.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        with os.fdopen(self.answer) as pipe:
            text = pipe.read()
        if text:
            self.said = json.loads(text)
        elif not self.killed:
            raise HangError(f"Process {self.pid} ended with status {status} and said nothing.")
        return self

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends in so many seconds; it may go on otherwise."""
        handle = os.pidfd_open(self.pid)
        try:
            watcher = select.poll()
            watcher.register(handle, select.POLLIN)
            return bool(watcher.poll(seconds * 1000))
        finally:
            os.close(handle)

    def until_stopped(self, limit: float = LIMIT_SECONDS) -> bool:
        """Wait until it has frozen itself; False when it ended instead.

        Raises:
            HangError: it did neither.
        """
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
            found = os.waitid(os.P_PID, self.pid, flags)
            if found is not None:
                return found.si_code == os.CLD_STOPPED
            self.ends_within(0.005)
        raise HangError(f"A process did not stop within {limit:g} s. {all_stacks()}")

    def stacks(self) -> str:
        """What all threads of the process are doing; a frozen one tells it as it wakes up."""
        os.kill(self.pid, signal.SIGUSR1)
        self.go_on()
        self.ends_within(1.0)
        return self.trace.read_text()

    def go_on(self) -> None:
        """Let it continue after it froze."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)


def all_stacks() -> str:
    """What everything that this process has forked is doing."""
    told = (f"Process {pid}:\n{child.stacks()}" for pid, child in _alive.items())
    return "\n".join(told)


def end_all() -> None:
    """Kill whatever this process has forked and not seen to its end."""
    for child in list(_alive.values()):
        child.kill()
        child.wait()


def fork(act: Callable[[], Any]) -> Child:
    """Run a function in a forked process; what it returns has to be fit for JSON."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, MOST_SAID)
    handle, trace = tempfile.mkstemp()
    pid = os.fork()
    if pid:
        os.close(writing)
        child = _alive[pid] = Child(pid=pid, answer=reading, trace=Path(trace))
        os.close(handle)
        return child
    status = 70
    try:
        _alive.clear()
        faulthandler.register(signal.SIGUSR1, handle, chain=False)
        os.close(reading)
        text = json.dumps(act()).encode()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(text)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
