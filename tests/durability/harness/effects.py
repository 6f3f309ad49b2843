"""The effect log: one line for each thing that happened, in a file that outlives the process."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from fluxio import current_step
from fluxio.verification import Effect, EffectKind


class EffectLog:
    """Appends effects of this process to a file, each synced before the process goes on.

    `tokens` remembers under which claim a run is executed here.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._groups = ""
        self.tokens: dict[str, int] = {}

    def write_to(self, path: str) -> None:
        """Append to this file from now on."""
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._groups = f"{path}{_GROUPS}"

    def note(self, kind: EffectKind, run_id: str, **facts: object) -> None:
        """Append one effect; a single write, so that lines of several processes never mix."""
        if self._file is None:
            return
        token = facts.pop("token", None) or self.tokens.get(run_id, 0)
        effect = Effect(kind=kind, run_id=run_id, token=token, **facts)
        os.write(self._file, json.dumps(asdict(effect)).encode() + b"\n")
        os.fsync(self._file)

    def note_group(self) -> None:
        """A statement for a group of runs was carried out; counted in a file beside the effects."""
        if self._groups:
            with Path(self._groups).open("ab") as beside:
                beside.write(b".")

    def note_step(self, kind: EffectKind) -> None:
        """Append an effect of the step that is running."""
        step = current_step()
        self.note(
            kind,
            step.run_id,
            step=step.key,
            attempt=step.attempt,
            idempotency_key=step.idempotency_key,
        )


_GROUPS = ".groups"

EFFECTS = EffectLog()
"""The log of this process; written nowhere until `write_to` was called."""


def read_effects(path: str | Path, *, after: int = 0) -> list[Effect]:
    """The effects in a log, in order; those after so many bytes of it."""
    if not Path(path).exists():
        return []
    with Path(path).open("rb") as log:
        log.seek(after)
        found = [json.loads(line) for line in log]
    return [Effect(**{**facts, "kind": EffectKind(facts["kind"])}) for facts in found]


def groups_beside(path: str | Path) -> int:
    """How many statements for groups of runs were carried out by those who wrote this log."""
    beside = Path(f"{path}{_GROUPS}")
    return beside.stat().st_size if beside.exists() else 0
