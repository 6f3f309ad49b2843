"""The compiled form of a pipeline: what the compiler writes and the runtime reads.

A program is one flat tuple of instructions. Every instruction knows the number of the next one,
so a route is a choice of numbers and needs no jumps. Since a program has no loops, an instruction
is executed at most once per attempt of a run: its number names the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from fluxio.nodes import ForkMode, Stage
from fluxio.passages import Passages
from fluxio.types import StageMiddleware

MAIN_LANE = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Run one stage. `routes` maps route names to instructions when the stage is a router."""

    key: str
    lane: int
    stage: Stage
    next: int
    routes: Mapping[str, int] | None = None
    middleware: tuple[StageMiddleware, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One branch of a fork: its name, the lane it runs in, its first instruction."""

    name: str
    lane: int
    entry: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fork:
    """Open a lane for each branch; go on when all have joined, or at once for FIRE_FORGET."""

    key: str
    lane: int
    mode: ForkMode
    branches: tuple[Branch, ...]
    next: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """The end of a branch's lane; `fork` is the number of the instruction that opened it."""

    key: str
    lane: int
    fork: int


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The end of the run."""

    key: str
    lane: int = MAIN_LANE


Instruction = Call | Fork | Join | End


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """A line of control: the run itself (lane 0) or one branch of a fork.

    `path` is the branch's place in the tree ("" for the run itself). `background` says that the
    lane belongs to a FIRE_FORGET branch, whose writes are never merged.
    """

    path: str
    parent: int | None
    fork: int | None
    background: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestEntry:
    """One line of a manifest: a step key, what stands there, and the hash of its definition."""

    key: str
    kind: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What went into a pipeline's version, in program order."""

    entries: tuple[ManifestEntry, ...]

    def to_rows(self) -> list[list[str]]:
        """Plain lists `[key, kind, digest]`, for storing as JSON."""
        return [[entry.key, entry.kind, entry.digest] for entry in self.entries]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[str]]) -> Manifest:
        """The manifest that `to_rows` gave."""
        return cls(
            tuple(ManifestEntry(key=key, kind=kind, digest=digest) for key, kind, digest in rows)
        )

    def changes_to(self, other: Manifest) -> tuple[str, ...]:
        """A line for each stage that was removed, added, changed or moved on the way to `other`."""
        old = {entry.key: entry for entry in self.entries}
        new = {entry.key: entry for entry in other.entries}
        lines = [f"removed: {key}" for key in old if key not in new]
        lines += [f"added: {key}" for key in new if key not in old]
        lines += [
            f"changed: {key} ({old[key].digest[:8]} -> {new[key].digest[:8]})"
            for key in new
            if key in old and old[key] != new[key]
        ]
        before = [key for key in old if key in new]
        after = [key for key in new if key in old]
        matches = SequenceMatcher(a=before, b=after, autojunk=False).get_matching_blocks()
        in_place = {key for match in matches for key in before[match.a : match.a + match.size]}
        lines += [f"moved: {key}" for key in after if key not in in_place]
        return tuple(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledPipeline:
    """A pipeline after compilation.

    `version` is a short sha256 over the manifest, `instructions` the program, `lanes` its lines of
    control, `index` the number of the instruction behind each key. `passages` are no part of the
    version: they say which runs of other versions may go on.
    """

    name: str
    version: str
    manifest: Manifest
    instructions: tuple[Instruction, ...]
    lanes: tuple[Lane, ...]
    index: Mapping[str, int]
    passages: Passages = field(default_factory=Passages)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every CALL of the program, in order."""
        return tuple(item for item in self.instructions if isinstance(item, Call))

    def call(self, name: str) -> Call:
        """The CALL with this step key, or the only one whose stage has this name.

        Raises:
            KeyError: no stage fits, or several do; the message lists the step keys.
        """
        position = self.index.get(name)
        found = self.instructions[position] if position is not None else None
        if isinstance(found, Call):
            return found
        named = [call for call in self.calls if call.stage.name == name]
        if len(named) == 1:
            return named[0]
        keys = ", ".join(call.key for call in (named or self.calls))
        problem = "stands for several steps" if named else "is no step"
        raise KeyError(f"{name!r} {problem} of pipeline {self.name!r}. Steps: {keys}.")
