"""Who this process is, in a text that others on the same machine can check for life."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


def own_identity() -> str:
    """`host:pid:start time:pid namespace` of this process; the last two are empty without /proc."""
    return _identity(os.getpid())


def is_provably_dead(owner: str) -> bool:
    """Whether the process behind an identity ran on this machine and is certainly gone.

    A process of another host or pid namespace is never called dead, nor one whose start time cannot
    be read: then only the lease decides.
    """
    parts = owner.split(":")
    own = own_identity().split(":")
    if len(parts) != 4 or not parts[2] or not parts[1].isdigit():
        return False
    if (parts[0], parts[3]) != (own[0], own[3]):
        return False
    try:
        return _start_time(int(parts[1])) != parts[2]
    except OSError:
        return False


@cache
def _identity(pid: int) -> str:
    try:
        started = _start_time(pid)
    except OSError:
        started = ""
    return f"{socket.gethostname().replace(':', '_')}:{pid}:{started}:{_namespace()}"


def _start_time(pid: int) -> str:
    """Clock ticks from boot to the start of the process (field 22 of proc_pid_stat(5)).

    Empty for one that has ended.

    Raises:
        OSError: it cannot be told.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        if _answers(pid):
            raise
        return ""
    fields = stat.rpartition(")")[2].split()
    zombie = fields[0] in ("Z", "X")
    return "" if zombie else fields[19]


def _answers(pid: int) -> bool:
    """Whether there is such a process, also where the table hides those of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _namespace() -> str:
    try:
        namespace = str((_PROC / "self/ns/pid").readlink())
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return f"{namespace.rpartition('[')[2].rstrip(']')}-{boot[:8]}"
