"""A process that has imported everything and opened nothing, and forks a process per trial.

Forking costs milliseconds where starting Python and Django costs seconds; and a process that holds
connections, as that of the tests does, must not be forked.
"""

import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any, BinaryIO

from tests.durability.harness.processes import end_all

TELLTALE = "PYTEST_CURRENT_TEST"
"""Makes our packages watch for changes in place, which they do not do where it counts."""
SHARED_MEMORY = "/dev/shm"
ROOT = Path(__file__).resolve().parents[3]


class TrialFailed(Exception):
    """The harness itself failed; the text is the traceback of the other process."""


class Nursery:
    """The tests' end: `submit` has a function called in a process forked for it.

    Functions are given by reference, arguments and results by value. `at_once` is how many trials
    run side by side.
    """

    def __init__(self, at_once: int = 4) -> None:
        # In memory where that can be had: what a killed process wrote to a file is kept anyway.
        memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
        self._folder = tempfile.TemporaryDirectory(prefix="fluxio-durability-", dir=memory)
        self.folder = Path(self._folder.name)
        self._room = Semaphore(at_once)
        self._numbers = count()
        self._open: dict[int, Future[Any]] = {}
        self._errors = (self.folder / "stderr").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.durability.harness.nursery", self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key != TELLTALE},
            start_new_session=True,
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def submit(self, function: Callable[..., Any], *values: Any, **named: Any) -> "Future[Any]":
        """Ask for a call; waits while too many are under way."""
        self._room.acquire()
        number = next(self._numbers)
        future: Future[Any] = Future()
        self._open[number] = future
        assert self._process.stdin is not None
        pickle.dump((number, function, values, named), self._process.stdin)
        self._process.stdin.flush()
        return future

    def call(self, function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Ask for a call, and wait for its result."""
        return self.submit(function, *values, **named).result()

    def close(self) -> None:
        """End the process and everything it forked."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number = int(line)
            answer = self.folder / str(number)
            done, result = pickle.loads(answer.read_bytes())
            answer.unlink()
            self._finish(number, done, result)
        for number in list(self._open):
            text = (self.folder / "stderr").read_text()
            self._finish(number, False, f"The nursery has ended:\n{text}")

    def _finish(self, number: int, done: bool, result: Any) -> None:
        future = self._open.pop(number)
        self._room.release()
        if done:
            future.set_result(result)
        else:
            future.set_exception(TrialFailed(result))


def serve(folder: Path, requests: BinaryIO) -> None:
    """Fork a process for each request, until there are no more."""
    while True:
        # Forked processes are not waited for here; a trial that asks for its own has to be.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            number, function, values, named = pickle.load(requests)
        except EOFError:
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            tempfile.tempdir = str(folder)
            _answer(folder / str(number), function, values, named)
            os.write(1, b"%d\n" % number)
            os._exit(0)


def _answer(
    path: Path, function: Callable[..., Any], values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    try:
        answer = pickle.dumps((True, function(*values, **named)))
    except BaseException:
        answer = pickle.dumps((False, traceback.format_exc()))
    finally:
        end_all()
    path.write_bytes(answer)


def main() -> None:
    """The other end."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.durability.defects.planting import plant_chosen
    from tests.durability.harness.actors import warm_up

    plant_chosen()
    warm_up()
    gc.freeze()  # so that the forked processes share what nobody changes
    serve(Path(sys.argv[1]), sys.stdin.buffer)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
