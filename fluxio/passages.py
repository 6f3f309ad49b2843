"""How runs that other code recorded may pass to the code at hand: declared, migrated or forced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from fluxio.context import Context
from fluxio.errors import ConfigurationError

_VERSION = re.compile(r"[0-9a-f]{16}")


class PassageKind(StrEnum):
    """Why a run may go on with code that did not record it."""

    COMPATIBLE = "compatible"
    """The pipeline says that it is compatible with the version of the run."""
    MIGRATED = "migrated"
    """A function of the pipeline carries the run over."""
    FORCED = "forced"
    """Somebody with the right to do so decided it for this run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where a run stands that is to be carried over, in the words of the code that recorded it.

    `version` is that code's version, `due` the key of the step that is due, or failed; "" at the
    end. `done` are the keys of the steps of its newest attempt that are recorded, oldest first.
    """

    version: str
    due: str
    done: tuple[str, ...]


Migration = Callable[[Context, Where], "Context | tuple[Context, str]"]
"""Gives the context a run goes on with, and the step it goes on at unless that is plain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Force:
    """Somebody's decision that a run goes on whatever version recorded it: who, and why.

    Both are kept in the run's log.
    """

    by: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """The way of one run to the code at hand; `version` is the one that recorded it."""

    kind: PassageKind
    version: str
    migration: Migration | None = None
    force: Force | None = None


@dataclass(frozen=True, slots=True)
class Passages:
    """What a pipeline says about runs of its earlier versions."""

    compatible: frozenset[str] = frozenset()
    migrations: dict[str, Migration] = field(default_factory=dict)

    @classmethod
    def from_versions(cls, versions: Iterable[str]) -> Passages:
        """Those of a pipeline that is compatible with these versions.

        Raises:
            ConfigurationError: one of them is no version.
        """
        if isinstance(versions, str):
            raise ConfigurationError("compatible_with is a list of versions; put brackets around.")
        return cls(frozenset(_checked(version) for version in versions))

    def add(self, version: str, migration: Migration) -> None:
        """Have a function carry over the runs of a version.

        Raises:
            ConfigurationError: it is no version, or runs of it have a way already.
        """
        if _checked(version) in self.compatible or version in self.migrations:
            raise ConfigurationError(
                f"Runs of version {version} have a way to this pipeline already. Give them one: "
                "compatible_with, or one migration."
            )
        self.migrations[version] = migration

    def find(self, version: str, force: Force | None = None) -> Passage | None:
        """The way of a run that a version recorded; None where it has none."""
        if version in self.migrations:
            migration = self.migrations[version]
            return Passage(kind=PassageKind.MIGRATED, version=version, migration=migration)
        if version in self.compatible:
            return Passage(kind=PassageKind.COMPATIBLE, version=version)
        if force is not None:
            return Passage(kind=PassageKind.FORCED, version=version, force=force)
        return None


def _checked(version: str) -> str:
    if not isinstance(version, str) or _VERSION.fullmatch(version) is None:
        raise ConfigurationError(
            f"{version!r} is no version of a pipeline: those are 16 hexadecimal digits. The run "
            "that is to go on shows its version."
        )
    return version
