"""Leases are renewed as long as a run is executed, whatever its event loop is doing."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence

import pytest

from fluxio.runtime import heartbeat as module
from fluxio.runtime.heartbeat import Heartbeat
from fluxio.store.base import Claim
from fluxio.types import RunStatus

SOON = 0.03
FOR_AGES = 3600.0


class Leases:
    """A leasing capability that notes who is renewed, and may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.renewed: list[list[str]] = []
        self.failures = failures
        self._changed = threading.Condition()

    def renew(self, claims: Sequence[Claim]) -> None:
        with self._changed:
            self.renewed.append(sorted(claim.run_id for claim in claims))
            self._changed.notify_all()
            if len(self.renewed) <= self.failures:
                raise OSError("down")

    def wishes(self, claims: Sequence[Claim]) -> dict[str, str]:
        return {}

    def wait_for(self, count: int) -> None:
        """Wait until that many renewals were asked for."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.renewed) >= count, timeout=10)


def claim(run_id: str, lease_seconds: float = SOON, token: int = 1) -> Claim:
    return Claim(
        run_id=run_id,
        token=token,
        owner="me",
        attempt=1,
        head=0,
        lease_seconds=lease_seconds,
        previous=RunStatus.QUEUED,
    )


def test_a_claim_is_renewed_again_and_again_while_its_block_runs() -> None:
    heartbeat, leases = Heartbeat(), Leases()
    with heartbeat.keeping(leases, claim("r")):
        leases.wait_for(3)
    assert leases.renewed[:3] == [["r"], ["r"], ["r"]]


def test_a_claim_is_renewed_three_times_per_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    heartbeat, leases = Heartbeat(), Leases()
    monkeypatch.setattr(heartbeat, "_thread", threading.current_thread())
    heartbeat._register(("r", 1), leases, claim("r", 30.0))
    now[0] += 10.0
    assert list(heartbeat._wait_for_due().values()) == [[claim("r", 30.0)]]
    assert heartbeat._claims["r", 1][2] == 1020.0


def test_claims_of_one_store_are_renewed_together_and_those_of_another_apart() -> None:
    heartbeat, ours, theirs = Heartbeat(), Leases(), Leases()
    with (
        heartbeat.keeping(ours, claim("a")),
        heartbeat.keeping(ours, claim("b")),
        heartbeat.keeping(theirs, claim("c")),
    ):
        theirs.wait_for(2)
        ours.wait_for(len(ours.renewed) + 3)
    assert set(map(tuple, theirs.renewed)) == {("c",)}
    assert {run_id for asked in ours.renewed for run_id in asked} == {"a", "b"}


def test_after_its_block_a_claim_is_left_alone() -> None:
    heartbeat, leases = Heartbeat(), Leases()
    with heartbeat.keeping(leases, claim("gone")):
        leases.wait_for(1)
    before = len(leases.renewed)
    with heartbeat.keeping(leases, claim("here")):
        leases.wait_for(before + 4)
    # One renewal may have been under way when the block ended.
    assert all(asked == ["here"] for asked in leases.renewed[before + 1 :])


def test_two_claims_on_one_run_are_told_apart() -> None:
    heartbeat, leases = Heartbeat(), Leases()
    with heartbeat.keeping(leases, claim("r", token=2)):
        with heartbeat.keeping(leases, claim("r", token=1)):
            pass
        leases.wait_for(2)


def test_a_store_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    heartbeat, leases = Heartbeat(), Leases(failures=2)
    with (
        caplog.at_level(logging.ERROR, logger="fluxio.heartbeat"),
        heartbeat.keeping(leases, claim("r")),
    ):
        leases.wait_for(4)
    assert "Renewing 1 leases failed; trying again." in caplog.text


def test_a_shorter_lease_wakes_the_thread_that_waits_for_a_longer_one() -> None:
    heartbeat, leases = Heartbeat(), Leases()
    with (
        heartbeat.keeping(leases, claim("long", FOR_AGES)),
        heartbeat.keeping(leases, claim("short", SOON)),
    ):
        leases.wait_for(2)
    assert leases.renewed[:2] == [["short"], ["short"]]


def test_a_longer_lease_does_not_disturb() -> None:
    heartbeat, leases = Heartbeat(), Leases()
    with (
        heartbeat.keeping(leases, claim("short", SOON)),
        heartbeat.keeping(leases, claim("long", FOR_AGES)),
    ):
        leases.wait_for(2)
    assert leases.renewed[0] == ["short"]


def test_claims_that_do_not_expire_need_no_thread() -> None:
    heartbeat = Heartbeat()
    with heartbeat.keeping(None, claim("r")):
        assert heartbeat._thread is None
        assert not heartbeat._claims


def test_the_thread_does_not_keep_the_process_alive() -> None:
    heartbeat = Heartbeat()
    with heartbeat.keeping(Leases(), claim("r", FOR_AGES)):
        assert heartbeat._thread is not None
        assert heartbeat._thread.daemon


def test_a_child_process_forgets_its_parents_claims_and_can_keep_its_own() -> None:
    leases = Leases()
    with module.heartbeat.keeping(leases, claim("parents", FOR_AGES)):
        assert module.heartbeat._claims
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - runs in the child
            verdict = b"n"
            try:
                forgotten = not module.heartbeat._claims and module.heartbeat._thread is None
                own = Leases()
                with module.heartbeat.keeping(own, claim("own")):
                    own.wait_for(1)
                if forgotten and own.renewed[0] == ["own"]:
                    verdict = b"y"
            finally:
                os.write(write, verdict)
                os._exit(0)
        os.close(write)
        assert os.read(read, 1) == b"y"
        os.close(read)
        os.waitpid(child, 0)
        assert module.heartbeat._claims


def test_forgetting_leaves_nothing_to_renew(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the heartbeat of this process, whose thread would go on with half of what was forgotten.
    monkeypatch.setattr(module, "heartbeat", Heartbeat())
    module.heartbeat._claims["r", 1] = (Leases(), claim("r"), 0.0)
    module._forget_after_fork()
    assert module.heartbeat._claims == {}
    assert module.heartbeat._thread is None
