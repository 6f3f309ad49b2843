"""Writes parts of the reference from the code: settings, checks, commands, examples."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.core.management import load_command_class
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import fluxio_django
from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import Settings

PACKAGE = Path(fluxio_django.__file__).parent
# What every Django command has says nothing about ours.
DJANGOS_OWN = frozenset(
    {"help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color"}
    | {"force_color", "skip_checks"}
)


_CODE = re.compile(r"(`[^`]+`|--[a-z][a-z-]*|\bfluxio_[a-z_]+)")


class FromTheCode(SphinxDirective):
    """What the directives below share: text with `code` in it, tables, code blocks."""

    has_content = False

    def paragraph(self, text: str) -> nodes.paragraph:
        """A paragraph; what stands between backticks, options and our commands are code."""
        paragraph = nodes.paragraph()
        for index, part in enumerate(_CODE.split(text)):
            paragraph += nodes.literal(text=part.strip("`")) if index % 2 else nodes.Text(part)
        return paragraph

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[nodes.Node]]) -> nodes.table:
        """A table of cells that are already nodes."""
        heads = list(heads)
        group = nodes.tgroup(cols=len(heads))
        group += [nodes.colspec(colwidth=1) for _ in heads]
        group += nodes.thead("", self._row([nodes.paragraph(text=head) for head in heads]))
        group += nodes.tbody("", *[self._row(cells) for cells in rows])
        return nodes.table("", group, classes=["colwidths-auto"])

    def _row(self, cells: Iterable[nodes.Node]) -> nodes.row:
        return nodes.row("", *[nodes.entry("", cell) for cell in cells])

    def code(self, text: str) -> nodes.paragraph:
        """A paragraph that is one piece of code."""
        return nodes.paragraph("", "", nodes.literal(text=text))


class SettingsList(FromTheCode):
    """Every key of FLUXIO, its default, and what it means."""

    def run(self) -> list[nodes.Node]:
        """One entry per field of `Settings`."""
        defaults, said = Settings(), _docstrings_of_fields(Settings)
        entries = [
            nodes.definition_list_item(
                "",
                nodes.term("", "", nodes.literal(text=field.name.upper())),
                nodes.definition(
                    "",
                    self.paragraph(said[field.name]),
                    self.paragraph(f"Default: `{getattr(defaults, field.name)!r}`"),
                ),
            )
            for field in fields(Settings)
        ]
        return [nodes.definition_list("", *entries)]


def _docstrings_of_fields(kind: type) -> dict[str, str]:
    """What stands in quotes below each field of a class, on one line."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for line, following in pairwise(body.body):
        if isinstance(line, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(line.target, ast.Name)
            assert isinstance(following.value, ast.Constant)
            found[line.target.id] = " ".join(str(following.value.value).split())
    return found


class ChecksTable(FromTheCode):
    """Every system check: its id, and what it says."""

    def run(self) -> list[nodes.Node]:
        """One row per check, errors first."""
        rows = [(self.code(check.id), self.paragraph(check.says)) for check in CheckID]
        return [self.table(("id", "says"), rows)]


class Commands(FromTheCode):
    """A section per management command: what it does, how it is called, its options."""

    def run(self) -> list[nodes.Node]:
        """The sections, by name."""
        names = sorted(path.stem for path in (PACKAGE / "management/commands").glob("fluxio_*.py"))
        return [self._section(name) for name in names]

    def _section(self, name: str) -> nodes.section:
        parser = load_command_class("fluxio_django", name).create_parser("manage.py", name)
        section = nodes.section(ids=[name.replace("_", "-")], names=[name])
        section += nodes.title(text=name)
        section += self.paragraph(str(parser.description))
        actions = list(_own(parser))
        section += nodes.literal_block(text=_usage(name, actions), language="text")
        # The last paragraph is about exit codes, the same for all commands.
        *closing, _exit_codes = str(parser.epilog).split("\n\n")
        section += [self.paragraph(words) for words in closing]
        rows = [(self.code(_spelled(action)), self.paragraph(_told(action))) for action in actions]
        if rows:
            section += self.table(("argument", "meaning"), rows)
        self.state.document.note_implicit_target(section, section)
        return section


def _own(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    own = [action for action in parser._actions if action.dest not in DJANGOS_OWN]
    return iter(sorted(own, key=lambda action: bool(action.option_strings)))


def _usage(name: str, actions: Iterable[argparse.Action]) -> str:
    parts = [
        f"[{_spelled(action)}]" if action.option_strings else _spelled(action) for action in actions
    ]
    return f"manage.py {name} {' '.join(parts)}"


def _spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    longest = max(action.option_strings, key=len)
    if action.nargs == 0:
        return longest
    if action.choices is not None:
        return f"{longest} {{{','.join(str(choice) for choice in action.choices)}}}"
    return f"{longest} {action.metavar or action.dest.upper()}"


def _told(action: argparse.Action) -> str:
    values: dict[str, Any] = {**vars(action), "prog": "manage.py"}
    return str(action.help or "") % values


DIRECTIVES: dict[str, type[FromTheCode]] = {
    "fluxio-settings": SettingsList,
    "fluxio-checks": ChecksTable,
    "fluxio-commands": Commands,
}


def show_examples_as_code(
    app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Mark the indented examples of a docstring as code, before its sections are read."""
    marked: list[str] = []
    for before, blank, line in zip(["", "", *lines], ["", *lines], lines, strict=False):
        begins = line.startswith("    ") and not blank.strip()
        if begins and before and not before.startswith(" ") and not before.endswith("::"):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    app.connect("autodoc-process-docstring", show_examples_as_code, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
