"""Past one machine: whatever dies, freezes, is flushed or stops, nothing is lost or double."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [
    pytest.mark.durability,
    pytest.mark.postgresql,
    pytest.mark.redis,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(0),
]
ROOT = Path(__file__).parents[2]
EVERYTHING = ["child", "parent", "freeze", "child", "flush"]

BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq"])


class Stage:
    """Plays trials in a process and a database of their own, and counts them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def play(self, trial: str, guarantees: str, **order: Any) -> dict[str, Any]:
        """What a trial came to; nothing may be lost, double or otherwise wrong."""
        options = {key: order.pop(key) for key in list(order) if key not in ("broker", "own")}
        order = {
            "trial": trial,
            "broker": order.get("broker", "redis"),
            "own_database": order.get("own", False),
            "options": options,
        }
        limit = "90" if options["count"] < 100 else "1800"
        ended = subprocess.run(
            [sys.executable, "-m", "tests.durability.cluster", json.dumps(order)],
            cwd=ROOT,
            env={**os.environ, "FLUXIO_CLUSTER_LIMIT": limit},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        violations = found["lost"] + found["double"] + len(found["wrong"])
        broker = {"redis": "Redis", "rabbitmq": "RabbitMQ"}[order["broker"]]
        for guarantee in guarantees.split():
            self._tally.add(guarantee, f"PostgreSQL, {broker}", found["runs"], violations)
        print(f"{trial} with {broker}: {found['runs']} runs, {found['facts']}")
        assert (found["lost"], found["double"], found["wrong"]) == (0, 0, []), found["log"]
        facts: dict[str, Any] = found["facts"]
        return facts


@pytest.fixture
def stage(tally: Tally) -> Stage:
    return Stage(tally)


@pytest.fixture
def many(size: Size) -> int:
    """How many runs a soak tries."""
    return size.trials(pull_request=20, soak=500)


def test_killed_frozen_and_flushed_workers_lose_and_repeat_nothing(stage: Stage) -> None:
    facts = stage.play("chaos", "G7 G23", count=30, actions=EVERYTHING[:3], pause=0.5)
    assert facts["children killed"]
    assert facts["parents killed"]
    assert facts["commands searched for the canary"] > 30


def test_a_run_that_kills_its_worker_is_given_up_after_exactly_so_many(stage: Stage) -> None:
    assert stage.play("poison", "G8", count=1)["processes killed"] == 4


def test_a_run_in_another_process_is_cancelled_within_seconds(stage: Stage) -> None:
    assert stage.play("cancelling", "G14", count=1)["slowest, s"] < 30


@pytest.mark.soak
@BROKERS
def test_soak_killed_frozen_and_flushed(stage: Stage, broker: str, many: int) -> None:
    facts = stage.play(
        "chaos", "G7 G21 G23", broker=broker, count=many, actions=EVERYTHING, pause=0.7
    )
    assert facts["broker flushed"]
    assert facts["frozen"]


@pytest.mark.soak
@BROKERS
def test_soak_a_database_that_stops(stage: Stage, broker: str, many: int) -> None:
    actions = ["database", "child", "flush"]
    facts = stage.play(
        "chaos", "G20", broker=broker, own=True, count=many, actions=actions, pause=2.0
    )
    assert facts["database stopped"]


@pytest.mark.soak
@BROKERS
def test_soak_messages_that_come_three_times(stage: Stage, broker: str, many: int) -> None:
    facts = stage.play("duplicates", "G23", broker=broker, count=many)
    assert facts["stages repeated"] == 0


@pytest.mark.soak
@BROKERS
def test_soak_one_admission_for_each_id(stage: Stage, broker: str, many: int) -> None:
    assert sum(stage.play("admissions", "G2b", broker=broker, count=many)["won by each"]) == many


@pytest.mark.soak
@BROKERS
def test_soak_what_was_enqueued_is_executed_and_what_was_not_is_not(
    stage: Stage, broker: str, many: int
) -> None:
    assert stage.play("vanishing", "G6", broker=broker, count=2 * many)["never to be"] == many


@pytest.mark.soak
@pytest.mark.parametrize("name", ["poison", "hungry"])
@BROKERS
def test_soak_runs_that_kill_their_workers(stage: Stage, broker: str, name: str, many: int) -> None:
    count = many if name == "poison" else max(2, many // 25)
    facts = stage.play("poison", "G8", broker=broker, count=count, name=name)
    assert facts["processes killed"] == 4 * count


@pytest.mark.soak
@BROKERS
def test_soak_one_at_a_time(stage: Stage, broker: str, many: int) -> None:
    stage.play("narrow", "", broker=broker, count=many)


@pytest.mark.soak
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@BROKERS
def test_soak_every_pool(stage: Stage, broker: str, pool: str, many: int) -> None:
    facts = stage.play("pools", "G23", broker=broker, count=many // 5, pool=pool)
    assert facts["connections while idle"] <= 5
