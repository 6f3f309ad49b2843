"""The compiler's one entry: nodes in, compiled pipeline out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from fluxio.compiler.builder import Builder
from fluxio.compiler.checks import check_declared_writes
from fluxio.compiler.fingerprint import code_fingerprint, value_fingerprint
from fluxio.compiler.passes import fold_independent
from fluxio.compiler.tree import parse
from fluxio.nodes import Stage
from fluxio.program import (
    Call,
    CompiledPipeline,
    End,
    Fork,
    Instruction,
    Join,
    Manifest,
    ManifestEntry,
)
from fluxio.runtime.middleware.retry import RetryMiddleware
from fluxio.types import StageMiddleware

_VERSION_LENGTH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What a pipeline is compiled from; `name` stands in errors and logs."""

    nodes: Sequence[Any]
    name: str
    middleware: tuple[StageMiddleware, ...] = ()
    auto_parallel: bool = False


def compile_pipeline(source: Source) -> CompiledPipeline:
    """Check the nodes, lay them out, and hash them.

    Raises:
        CompilationError: the nodes do not form a program; the message says where and what to do.
    """
    body = parse(source.nodes, f"Pipeline {source.name!r}" if source.name else "The pipeline")
    body = fold_independent(body, source.name or "(unnamed)", enabled=source.auto_parallel)
    check_declared_writes(body)
    builder = Builder()
    builder.build(body, source.middleware)
    instructions = tuple(_with_own_retry(item) for item in builder.instructions)
    manifest = _manifest(instructions)
    return CompiledPipeline(
        name=source.name,
        version=version_of(manifest),
        manifest=manifest,
        instructions=instructions,
        lanes=tuple(builder.lanes),
        index=builder.index,
    )


def version_of(manifest: Manifest) -> str:
    """The first 16 hexadecimal digits of the sha256 over a manifest's rows as JSON."""
    text = json.dumps(manifest.to_rows(), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_LENGTH]


def _with_own_retry(instruction: Instruction) -> Instruction:
    """A stage's own retry policy stands innermost, so that outer middleware sees one attempt."""
    if isinstance(instruction, Call) and instruction.stage.retry is not None:
        own = RetryMiddleware.from_policy(instruction.stage.retry)
        return replace(instruction, middleware=(*instruction.middleware, own))
    return instruction


def _manifest(instructions: tuple[Instruction, ...]) -> Manifest:
    entries: list[ManifestEntry] = []
    for item in instructions:
        match item:
            case Call():
                routes = sorted(
                    (name, instructions[at].key) for name, at in (item.routes or {}).items()
                )
                kind = "stage" if item.routes is None else "router"
                facts: object = [_stage_facts(item.stage), routes]
            case Fork():
                kind = "fork"
                facts = [item.mode.value, [branch.name for branch in item.branches]]
            case Join() | End():
                continue
            case _:
                assert_never(item)
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        entries.append(ManifestEntry(key=item.key, kind=kind, digest=digest[:_VERSION_LENGTH]))
    return Manifest(tuple(entries))


def _stage_facts(stage: Stage) -> list[object]:
    code = stage.code_version
    return [
        stage.name,
        stage.node_type.value,
        ["code", code_fingerprint(stage.function)] if code is None else ["version", str(code)],
        sorted(stage.reads) if stage.reads is not None else None,
        sorted(stage.writes) if stage.writes is not None else None,
        value_fingerprint(stage.input_schema),
        value_fingerprint(stage.output_schema),
        stage.timeout,
        stage.transactional,
        value_fingerprint(stage.retry),
    ]
