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
    return _start_time(int(parts[1])) != parts[2]


@cache
def _identity(pid: int) -> str:
    return f"{socket.gethostname().replace(':', '_')}:{pid}:{_start_time(pid)}:{_namespace()}"


def _start_time(pid: int) -> str:
    """Clock ticks from boot to the start of the process (field 22 of proc_pid_stat(5))."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    zombie = fields[0] in ("Z", "X")
    return "" if zombie else fields[19]


def _namespace() -> str:
    try:
        namespace = str((_PROC / "self/ns/pid").readlink())
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return f"{namespace.rpartition('[')[2].rstrip(']')}-{boot[:8]}"
