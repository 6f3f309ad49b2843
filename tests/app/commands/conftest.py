"""A home for runs, pipelines for it, and the commands as a script would call them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from fluxio import Pipeline
from fluxio_django import pipelines, register

Register = Callable[..., None]


class Shell:
    """Calls commands; `out` and `err` are what the last one wrote."""

    out = ""
    err = ""

    def __call__(self, command: Any, *words: str, **options: Any) -> str:
        """What the command wrote to standard output."""
        out, err = StringIO(), StringIO()
        try:
            call_command(command, *words, stdout=out, stderr=err, **options)
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()
        return self.out

    def json(self, command: Any, *words: str) -> dict[str, Any]:
        """The one object the command wrote."""
        (line,) = self(command, *words, "--json").splitlines()
        facts: dict[str, Any] = json.loads(line)
        return facts

    def refused(self, command: Any, *words: str, **options: Any) -> str:
        """What the command said when it ended with exit code 1."""
        with pytest.raises(CommandError) as caught:
            self(command, *words, **options)
        assert caught.value.returncode == 1
        return str(caught.value)


@pytest.fixture
def shell() -> Shell:
    return Shell()


@pytest.fixture
def home(transactional_db: None, settings: Any) -> str:
    """The alias of the database where runs live: SQLite, for what does not depend on it."""
    settings.FLUXIO = {"DATABASE": "default"}
    return "default"


@pytest.fixture
def every_home(database: str, settings: Any) -> str:
    """The same on each database that can be reached, one after the other."""
    settings.FLUXIO = {"DATABASE": database}
    return database


@pytest.fixture
def registered() -> Iterator[Register]:
    """Registers pipelines for the time of a test: `registered("name", [stages])`."""
    names = []

    def add(name: str, nodes: list[Any], *, durable: bool = True, **options: Any) -> None:
        pipelines.remove(name)
        names.append(name)
        register(name, Pipeline(nodes, durable=durable, **options))

    yield add
    for name in names:
        pipelines.remove(name)
