"""Runs that Redis loses at any call of their store: said so, never begun anew in silence (G21)."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from fluxio.errors import CorruptCheckpointError, FluxioError, LeaseLostError, NoCheckpointError
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from fluxio.verification import Effect, EffectKind
from tests.durability.harness.actors import Part, Verb
from tests.durability.harness.effects import EFFECTS, read_effects
from tests.durability.harness.houses import REDIS, REDIS_PREFIX, House
from tests.durability.harness.plans import INITIAL
from tests.durability.harness.topologies import TOPOLOGIES
from tests.durability.harness.verdicts import judge
from tests.needs import REDIS as SERVER
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.redis]

DEAD = Fault(mode=FaultMode.UNAVAILABLE, call=4, forever=True)
"""Where a run is given up that is to be resumed."""
GOES_ON = {EffectKind.CLAIMED, EffectKind.RECORDED}
"""What must not happen to a run that is lost; stages in flight may come to their ends."""
REPORTED = (LeaseLostError, NoCheckpointError, CorruptCheckpointError)
"""How an execution says that its run is not there any more; the last where its rows are."""


class Loss:
    """A run that loses keys in Redis: those that match `lost`, before a chosen call.

    `before` is what had happened when they went; `error` is what an execution ended with.
    """

    def __init__(self, topology: str, lost: str, folder: Path) -> None:
        self.topology, self.lost = topology, f"{REDIS_PREFIX}:{lost}"
        self.house = House(REDIS)
        self.run_id = f"lost-{uuid4().hex}"
        self.effects = str(folder / self.run_id)
        self.before: Sequence[Effect] = ()
        self.error: FluxioError | None = None
        self.gone = 0

    def execute(self, verb: Verb, *faults: Fault) -> list[Operation]:
        """Start or resume the run over a store with these faults; the calls that were made."""
        EFFECTS.write_to(self.effects)
        store = FaultyStore(self.house.store(), *faults)
        pipeline = self.house.pipeline(self.topology, TOPOLOGIES[self.topology], store)
        self.error = None
        try:
            if verb is Verb.START:
                pipeline.invoke_sync(INITIAL, run_id=self.run_id)
            else:
                pipeline.resume_sync(self.run_id)
        except FluxioError as error:
            self.error = error
        return list(store.calls)

    def give_up(self) -> None:
        """Leave the run half-way, with a lease that has ended."""
        self.execute(Verb.START, DEAD)
        self.house.end_lease(self.run_id)

    def at(self, call: int) -> Fault:
        """The keys are gone before this call."""
        return Fault(mode=FaultMode.SLOW, call=call, hook=self._lose)

    def went_on(self, verb: Verb) -> list[str]:
        """What is wrong, if it was to come to its end all the same."""
        part = Part(
            verb=Verb.START,
            house=REDIS,
            topology=self.topology,
            run_id=self.run_id,
            effects=self.effects,
        )
        found = judge(part, interruptions=int(verb is Verb.RESUME))
        return [f"{error!r}" for error in [self.error] if error] + [f"{each}" for each in found]

    def went_down(self) -> list[str]:
        """What is wrong, if it was to say that it is lost, and to be gone."""
        wrong = []
        if not isinstance(self.error, REPORTED):
            wrong.append(f"it ended with {self.error!r}")
        if late := {effect.kind for effect in self._since()} & GOES_ON:
            wrong.append(f"a run that is lost goes on: {late}")
        self.execute(Verb.RESUME)
        if not isinstance(self.error, NoCheckpointError):
            wrong.append(f"then its resume ended with {self.error!r}")
        if self.house.record_and_rows(self.run_id) != (None, []):
            wrong.append("something of it is back")
        return wrong

    def _since(self) -> list[Effect]:
        return read_effects(self.effects)[len(self.before) :]

    async def _lose(self) -> None:
        self.gone = lose(self.lost)
        self.before = read_effects(self.effects)


def lose(pattern: str) -> int:
    """Delete every key that matches, as FLUSHALL or an eviction does; how many there were."""
    with redis.Redis.from_url(SERVER.location) as client:
        keys = list(client.scan_iter(match=pattern, count=1000))
        return int(client.delete(*keys)) if keys else 0


@pytest.mark.parametrize("topology", ["linear", "plain", "parallel", "routed", "background"])
@pytest.mark.parametrize("verb", [Verb.START, Verb.RESUME])
@pytest.mark.parametrize("lost", ["*", "manifest:*"], ids=["everything", "only the manifest"])
def test_a_run_that_redis_loses_says_so_and_is_not_begun_anew(
    topology: str, verb: Verb, lost: str, tmp_path: Path, tally: Tally
) -> None:
    """G21: before the k-th call of an execution, or of its resume, for every k."""
    broken: list[str] = []
    for number in count(1):
        loss = Loss(topology, lost, tmp_path)
        if verb is Verb.RESUME:
            loss.give_up()
        calls = loss.execute(verb, loss.at(number))
        if len(calls) < number:
            break
        unrecorded = verb is Verb.START and number == 1
        assert loss.gone or unrecorded
        goes_on = unrecorded or lost == "manifest:*"
        wrong = loss.went_on(verb) if goes_on else loss.went_down()
        tally.add("G21", loss.house.title, 1, bool(wrong))
        broken += [f"call {number}, {calls[number - 1]}: {text}" for text in wrong]
    assert number > 5
    assert not broken, "\n".join(broken)
