"""Only a process of this machine that is certainly gone is called dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fluxio.runtime import owner
from fluxio.runtime.owner import is_provably_dead, own_identity


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process table that the test writes itself."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("1f2e3d4c-aaaa-bbbb\n")
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    monkeypatch.setattr(owner.socket, "gethostname", lambda: "web:1")
    monkeypatch.setattr(owner.os, "kill", no_such_process)
    owner._identity.cache_clear()
    running(tmp_path, os.getpid(), "777")
    yield tmp_path  # type: ignore[misc]
    owner._identity.cache_clear()


def no_such_process(pid: int, signal: int) -> None:
    raise ProcessLookupError(pid)


def running(proc: Path, pid: int, started: str, state: str = "S", name: str = "python") -> None:
    """Write the line of a process: its name, its state and, as field 22, when it started."""
    (proc / str(pid)).mkdir(exist_ok=True)
    between = " ".join(["0"] * 18)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} {between} {started} 0 0\n")


def identity(pid: int = 4711, started: str = "100", **parts: str) -> str:
    host = parts.get("host", "web_1")
    namespace = parts.get("namespace", "4026531836-1f2e3d4c")
    return f"{host}:{pid}:{started}:{namespace}"


def test_an_identity_names_host_process_start_and_namespace(proc: Path) -> None:
    assert own_identity() == f"web_1:{os.getpid()}:777:4026531836-1f2e3d4c"


def test_a_process_that_is_not_there_is_dead(proc: Path) -> None:
    assert is_provably_dead(identity())


@pytest.mark.parametrize("hidden", [None, PermissionError])
def test_a_process_that_the_table_hides_is_not_called_dead(
    proc: Path, monkeypatch: pytest.MonkeyPatch, hidden: type[OSError] | None
) -> None:
    def signalled(pid: int, signal: int) -> None:
        if hidden is not None:
            raise hidden(pid)

    monkeypatch.setattr(owner.os, "kill", signalled)
    assert not is_provably_dead(identity())


def test_who_cannot_read_the_table_calls_nobody_dead(proc: Path) -> None:
    running(proc, 4711, "100")
    (proc / "4711/stat").unlink()
    (proc / "4711/stat").mkdir()  # to read it is an OSError, as without a descriptor left
    assert not is_provably_dead(identity())


def test_a_process_that_runs_is_not(proc: Path) -> None:
    running(proc, 4711, "100")
    assert not is_provably_dead(identity())


def test_a_number_that_another_process_has_now_means_death(proc: Path) -> None:
    running(proc, 4711, "200")
    assert is_provably_dead(identity())


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_dead(proc: Path, state: str) -> None:
    running(proc, 4711, "100", state)
    assert is_provably_dead(identity())


def test_a_name_with_brackets_and_spaces_is_read_over(proc: Path) -> None:
    running(proc, 4711, "100", name="my (odd) Z name)")
    assert not is_provably_dead(identity())


@pytest.mark.parametrize(
    "elsewhere",
    [
        identity(host="web_2"),
        identity(namespace="4026531836-99999999"),
        identity(namespace="1-1f2e3d4c"),
        identity(started=""),
        "",
        "nonsense",
        "web_1:no-number:100:4026531836-1f2e3d4c",
        identity() + ":more",
    ],
)
def test_nobody_else_is_called_dead(proc: Path, elsewhere: str) -> None:
    assert not is_provably_dead(elsewhere)


def test_without_a_process_table_nobody_is_called_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "_PROC", tmp_path / "nothing")
    owner._identity.cache_clear()
    assert own_identity().endswith(f":{os.getpid()}::")
    assert not is_provably_dead(own_identity())
    owner._identity.cache_clear()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this machine")
def test_real_processes_are_told_apart() -> None:
    assert not is_provably_dead(own_identity())
    program = "from fluxio.runtime.owner import own_identity; print(own_identity())"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert ended.split(":")[0] == own_identity().split(":")[0]
    assert is_provably_dead(ended)
