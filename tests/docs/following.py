"""Follows a page as a reader does: writes its files, types its commands, looks at what they print.

`python -m tests.docs.following PAGE WHEEL` does so in an empty folder, where `pip install` takes
the wheel. A Python block begins with a comment that names its file; a console block holds commands
and what they print, in which `...` stands for anything, and a line of its own for any lines.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Snippet, snippets

FILE = re.compile(r"# (?P<at_the_end>at the end of )?(?P<name>\S+\.py)\n")
SECONDS_TO_SERVE = 30
PATIENCE = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """Something to type, and what should then be seen."""

    line: int
    typed: str
    expected: str

    @property
    def may_fail(self) -> bool:
        """A power cut is not the way to exit code 0."""
        return self.typed.startswith("POWER_CUT")


def commands(snippet: Snippet) -> Iterator[Command]:
    """The commands of a console block."""
    for number, part in enumerate(re.split(r"^\$ ", snippet.code, flags=re.MULTILINE)):
        if number:
            typed, _, expected = part.partition("\n")
            yield Command(line=snippet.line, typed=typed, expected=expected)


def matches(expected: str, printed: str) -> bool:
    """Whether a command printed what the page says; a page that says nothing is content."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else _line(line) for line in expected.splitlines()
    )
    return not expected or re.fullmatch(pattern, _lines(printed)) is not None


def _line(line: str) -> str:
    words = [".*".join(map(re.escape, word.split("..."))) for word in line.split()]
    return r"\s*" + r"\s+".join(words) + r"[ \t]*\n"


def _lines(printed: str) -> str:
    return "".join(f"{line}\n" for line in printed.splitlines() if line.strip())


class Reader:
    """Somebody with an empty folder, a shell and a wheel."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self._folder = folder
        self._wheel = wheel
        tools = folder.with_name(f"{folder.name}-tools")
        tools.mkdir()
        (tools / "python").symlink_to(sys.executable)
        inherited = {"HOME", "LANG", "SSL_CERT_FILE"}
        pip = {name for name in os.environ if name.startswith("PIP_")}
        self._environment = {name: os.environ[name] for name in inherited & set(os.environ) | pip}
        # What is printed comes line by line, as on a terminal.
        self._environment |= {"PATH": f"{tools}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
        self._activated = False

    def follow(self, page: Path) -> None:
        """Do what a page says, from top to bottom.

        Raises:
            AssertionError: something else came of it than the page says.
        """
        for snippet in snippets(page):
            if snippet.language == "python":
                self._write(snippet, page)
            elif snippet.language == "console":
                for command in commands(snippet):
                    self._type(command, page)

    def _write(self, snippet: Snippet, page: Path) -> None:
        named = FILE.match(snippet.code)
        assert named is not None, f"{page.name}:{snippet.line}: which file is this?"
        file = self._folder / named["name"]
        if named["at_the_end"]:
            file.write_text(file.read_text() + snippet.code)
        else:
            file.write_text(snippet.code)

    def _type(self, command: Command, page: Path) -> None:
        place = f"{page.name}:{command.line}: $ {command.typed}"
        if command.typed.endswith("manage.py runserver"):
            self._serve(command, place)
            return
        typed = command.typed.replace("install fluxio-django", f"install '{self._wheel}'")
        done = subprocess.run(
            self._shell(typed),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        failed = done.returncode != 0
        assert failed is command.may_fail, f"{place}: exit code {done.returncode}\n{done.stdout}"
        assert matches(command.expected, done.stdout), (
            f"{place} should print\n{command.expected}but printed\n{done.stdout}"
        )
        self._activated |= typed.endswith("bin/activate")

    def _serve(self, command: Command, place: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            self._shell(f"exec {command.typed} --noreload 127.0.0.1:{port}"),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert _answers(f"http://127.0.0.1:{port}/admin/login/"), f"{place}: no answer"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=PATIENCE)

    def _shell(self, typed: str) -> list[str]:
        before = ". venv/bin/activate; " if self._activated else ""
        return ["/bin/sh", "-c", before + typed]


def _answers(address: str) -> bool:
    deadline = time.monotonic() + SECONDS_TO_SERVE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            time.sleep(0.1)
    return False


def main(page: str, wheel: str) -> None:
    """Follow a page in a folder that is removed afterwards."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "folder"
        folder.mkdir()
        Reader(folder, Path(wheel).resolve()).follow(Path(page))
    print(f"{page}: everything is as it says, after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
