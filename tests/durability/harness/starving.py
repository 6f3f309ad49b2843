"""Runs whose store fails them, in this process: executed, resumed and judged."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from fluxio import CheckpointStore
from fluxio.errors import LeaseLostError, NoCheckpointError, StoreError
from fluxio.types import RunStatus
from tests.durability.harness.actors import Finding, Part, Verb
from tests.durability.harness.effects import EFFECTS
from tests.durability.harness.houses import House
from tests.durability.harness.plans import INITIAL
from tests.durability.harness.topologies import TOPOLOGIES
from tests.durability.harness.verdicts import Wrong, judge, stages_ran


@dataclass(kw_only=True)
class Starving:
    """One run of a topology, with an effect log of its own in `folder`.

    `failures` is how many of its executions ended with one of the `allowed` errors; every other
    error is the test's to see. `findings` is what is wrong.
    """

    house: House
    topology: str
    folder: Path
    allowed: tuple[type[Exception], ...] = (StoreError,)
    failures: int = 0
    findings: list[Finding] = field(default_factory=list)
    run_id: str = field(default_factory=lambda: f"starving-{uuid4().hex}")

    def execute(self, verb: Verb, store: CheckpointStore | None = None) -> bool:
        """Execute the run, over this store where one is given; whether it came to its end."""
        EFFECTS.write_to(self.effects)
        pipeline = self.house.pipeline(self.topology, TOPOLOGIES[self.topology], store)
        try:
            if verb is Verb.START:
                pipeline.invoke_sync(INITIAL, run_id=self.run_id)
            else:
                pipeline.resume_sync(self.run_id)
        except NoCheckpointError:
            if stages_ran(self.effects):
                self.findings.append((Wrong.LOST, "stages ran, yet the run is not recorded"))
            return False
        except self.allowed:
            self.failures += 1
            return False
        except LeaseLostError:
            # Its last commit was applied, but said not to be: then the failure comes too late.
            record, _ = self.house.record_and_rows(self.run_id)
            if record is None or record.status is not RunStatus.SUCCEEDED:
                raise
            self.failures += 1
            return False
        return True

    def finish(self) -> list[Finding]:
        """Go on over a store that works, judge what has become of the run, and say what is wrong.

        Raises:
            Exception: it cannot be finished.
        """
        record, _ = self.house.record_and_rows(self.run_id)
        self.forsake()
        self.allowed = ()
        self.execute(Verb.START if record is None else Verb.RESUME)
        part = Part(
            verb=Verb.START,
            house=self.house.name,
            topology=self.topology,
            run_id=self.run_id,
            effects=self.effects,
        )
        self.findings += judge(part, interruptions=self.failures)
        return self.findings

    def forsake(self) -> None:
        """Let the time pass that it takes until a claim nobody renews is over."""
        self.house.end_lease(self.run_id)

    @property
    def effects(self) -> str:
        """Its effect log."""
        return str(self.folder / self.run_id)
