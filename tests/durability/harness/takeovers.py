"""What becomes of runs whose worker is gone when nobody looks after them but the sweep."""

from collections.abc import Iterator
from dataclasses import replace

from fluxio.types import RunStatus
from fluxio_django.models import Run
from tests.durability.harness.actors import Finding, Part, Said, Verb
from tests.durability.harness.houses import House
from tests.durability.harness.moments import Moment
from tests.durability.harness.processes import fork
from tests.durability.harness.trials import Report, execute, judged, said_by
from tests.durability.harness.verdicts import Wrong

BEYOND = 3
"""Sweeps that a run is given which should have been given up before."""


def takeover_trial(part: Part, *, frozen: bool) -> Report:
    """Kill or freeze a worker in a stage, and let the sweep find its run."""
    moment = {"stop_at" if frozen else "die_at": Moment.IN_STAGE}
    worker = execute(replace(part, verb=Verb.START, **moment))
    if frozen:
        worker.until_stopped()
    else:
        worker.wait()
    findings: list[Finding] = []
    early, _ = _swept(part), _end_lease(part)
    due, again = _swept(part), _swept(part)
    for name, said, wanted in (("early", early, 0), ("due", due, 1), ("second", again, 0)):
        taken = said.swept.get("taken_over")
        if taken != wanted:
            findings.append((Wrong.HANG, f"the {name} sweep took over {taken}: {said.message}"))
    if frozen:
        worker.go_on()
        late = said_by(worker)
        if late.error != "LeaseLostError":
            findings.append((Wrong.ANSWER, f"the zombie got {late.error or 'no error'}"))
    return Report(reached=True, findings=findings + judged(part, interruptions=1))


def poison_trial(part: Part) -> Report:
    """A stage that kills every worker; `count` of the report is how many it killed in sweeps."""
    execute(replace(part, verb=Verb.START, die_at=Moment.IN_STAGE)).wait()
    deaths = 0
    for _ in range(part.max_takeovers + BEYOND):
        _end_lease(part)
        said = _swept(replace(part, die_at=Moment.IN_STAGE))
        if not said.killed:
            break
        deaths += 1
    found = fork(lambda: list(_buried(part))).wait().said
    findings: list[Finding] = [(rule, message) for rule, message in found]
    if deaths != part.max_takeovers:
        findings.append((Wrong.HANG, f"{deaths} sweeps died, not {part.max_takeovers}"))
    return Report(reached=True, findings=findings, count=deaths)


def _swept(part: Part) -> Said:
    return said_by(execute(replace(part, verb=Verb.SWEEP)))


def _end_lease(part: Part) -> None:
    fork(lambda: House(part.house).end_lease(part.run_id)).wait()


def _buried(part: Part) -> Iterator[Finding]:
    """What is wrong with a run that should have been given up."""
    run = Run.objects.using(part.house).get(run_id=part.run_id)
    if run.status != RunStatus.DEAD:
        yield (Wrong.UNFINISHED, f"the run is {run.status}, not dead")
    if run.takeovers != part.max_takeovers:
        yield (Wrong.RESULT, f"{run.takeovers} takeovers are recorded")
    if str(part.max_takeovers) not in run.error or run.step not in run.error:
        yield (Wrong.RESULT, f"no reason is given: {run.error!r}")
