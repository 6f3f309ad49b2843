"""Shows a compiled program to people: as an outline and as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from fluxio.nodes import ForkMode, NodeType, Stage
from fluxio.program import Call, CompiledPipeline, End, Fork, Join


def outline(program: CompiledPipeline) -> str:
    """The program as indented text, one instruction a line, with its number and step key."""
    title = f"pipeline {program.name or '(unnamed)'}  version {program.version}"
    return "\n".join([title, *_lines(program, 0, len(program.instructions) - 1, 0)])


def _lines(program: CompiledPipeline, start: int, stop: int, depth: int) -> Iterator[str]:
    """The lines from instruction `start` up to the one numbered `stop`, which is not shown."""
    at, indent = start, "    " * depth
    while at != stop:
        instruction = program.instructions[at]
        match instruction:
            case Call():
                number = f"{at:>4}  {indent}"
                yield f"{number}CALL  {instruction.key}{_options(instruction.stage)}"
                for name, entry in (instruction.routes or {}).items():
                    yield f"      {indent}  route {name!r}"
                    yield from _lines(program, entry, instruction.next, depth + 1)
                at = instruction.next
            case Fork():
                waits = "" if instruction.mode is ForkMode.PARALLEL else "  (fire and forget)"
                yield f"{at:>4}  {indent}FORK  {instruction.key}{waits}"
                for branch in instruction.branches:
                    yield f"      {indent}  branch {branch.name!r}"
                    end = _join_of(program, branch.lane)
                    yield from _lines(program, branch.entry, end, depth + 1)
                at = instruction.next
            case Join() | End():
                return
            case _:
                assert_never(instruction)


def _options(stage: Stage) -> str:
    words = [] if stage.node_type is NodeType.ASYNC else [stage.node_type.value]
    if stage.transactional:
        words.append("transactional")
    if stage.timeout is not None:
        words.append(f"timeout {stage.timeout:g} s")
    if stage.retry is not None:
        words.append(f"up to {stage.retry.max_attempts} attempts")
    if stage.reads is not None:
        words.append(f"reads {', '.join(sorted(stage.reads))}")
    if stage.writes is not None:
        words.append(f"writes {', '.join(sorted(stage.writes))}")
    return f"  ({'; '.join(words)})" if words else ""


def _join_of(program: CompiledPipeline, lane: int) -> int:
    return next(
        at
        for at, item in enumerate(program.instructions)
        if isinstance(item, Join) and item.lane == lane
    )


def mermaid(program: CompiledPipeline) -> str:
    """The program as a Mermaid flowchart; routes are labelled arrows, background forks dotted."""
    lines = ["flowchart TD"]
    for at, item in enumerate(program.instructions):
        match item:
            case Call():
                lines.append(f'  n{at}["{_escaped(item.stage.name)}"]')
                if item.routes is None:
                    lines.append(f"  n{at} --> n{item.next}")
                else:
                    lines += [
                        f'  n{at} -- "{_escaped(name)}" --> n{entry}'
                        for name, entry in item.routes.items()
                    ]
            case Fork():
                arrow = "-->" if item.mode is ForkMode.PARALLEL else "-.->"
                lines.append(f'  n{at}{{{{"{_escaped(item.key)}"}}}}')
                lines += [f"  n{at} {arrow} n{branch.entry}" for branch in item.branches]
                if item.mode is ForkMode.FIRE_FORGET:
                    lines.append(f"  n{at} --> n{item.next}")
            case Join():
                fork = program.instructions[item.fork]
                assert isinstance(fork, Fork)
                lines.append(f"  n{at}(( ))")
                if fork.mode is ForkMode.PARALLEL:
                    lines.append(f"  n{at} --> n{fork.next}")
            case End():
                lines.append(f"  n{at}([end])")
            case _:
                assert_never(item)
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
