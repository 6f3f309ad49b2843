"""What is done to runs: each trial forks its actors, does its worst, and has the rest judged."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from django.conf import settings

from tests.durability.harness.actors import Finding, Hold, Part, Said, Verb, play
from tests.durability.harness.houses import REDIS
from tests.durability.harness.moments import Moment
from tests.durability.harness.processes import Child, HangError, fork
from tests.durability.harness.proxies import (
    AnswerLoser,
    is_mysql_request,
    is_postgresql_request,
)
from tests.durability.harness.tripwire import NEVER
from tests.durability.harness.verdicts import Wrong, judge, stages_ran

LEASES_TO_BE_BLOCKED = 2
"""After so many leases an heir that has not come through is waiting for a lock."""


@dataclass(kw_only=True)
class Report:
    """What came of a trial. `reached` says that what was planned did happen to the run."""

    reached: bool
    findings: list[Finding] = field(default_factory=list)
    count: int = 0


def execute(part: Part) -> Child:
    """An actor in a process of its own."""
    return fork(lambda: asdict(play(part)))


def said_by(child: Child) -> Said:
    """What an actor said in the end."""
    child.wait()
    return Said(killed=True) if child.said is None else Said(**child.said)


# --- killing


def count(part: Part) -> tuple[int, dict[str, list[int]]]:
    """How much a run executes that nothing happens to, and where; see `Said`.

    Raises:
        RuntimeError: it fails by itself.
    """
    said = said_by(execute(replace(part, verb=Verb.START, kill_at=NEVER)))
    if said.error:
        raise RuntimeError(f"{part.topology} fails by itself: {said.error}: {said.message}")
    return said.count, said.executions


def kill_trial(part: Part, kills: Sequence[int], ending: Verb) -> Report:
    """Kill a run at one place, and its resumes at the others; then let it be finished."""
    # Only in the databases is a dead owner recognised before its lease is over.
    part = replace(part, patient=part.house == REDIS)
    died = 0
    for number, place in enumerate(kills):
        verb = Verb.RESUME if number else Verb.START
        said = said_by(execute(replace(part, verb=verb, kill_at=place)))
        died += said.killed
        if said.error not in ("", "NoCheckpointError"):
            return Report(reached=True, findings=[(Wrong.ANSWER, f"{said.error}: {said.message}")])
    part = replace(part, verb=ending, kill_at=None)
    finished = said_by(fork(lambda: asdict(_finish(part, died))))
    return Report(reached=died > 0, findings=finished.findings)


def _finish(part: Part, died: int) -> Said:
    said = play(part)
    findings: list[Finding] = []
    if said.error == "NoCheckpointError":
        # It died before it was let in: then nothing may have happened, and it can begin.
        if stages_ran(part.effects):
            findings.append((Wrong.LOST, "stages ran, yet the run is not recorded"))
        said = play(replace(part, verb=Verb.START))
    if said.error:
        findings.append((Wrong.LOST, f"it could not be finished: {said.error}: {said.message}"))
    return replace(said, findings=findings + judge(part, interruptions=died))


# --- freezing


class Order(StrEnum):
    """When an owner that was frozen past its lease wakes up."""

    AFTER = "after its heir has finished"
    BEFORE = "when its heir has claimed the run and written nothing yet"


def zombie_trial(part: Part, moment: Moment, order: Order) -> Report:
    """Freeze an owner past its lease, let an heir take over, and wake it up again."""
    try:
        if moment is Moment.INSIDE_CLAIM:  # then it is an heir itself
            said_by(execute(replace(part, verb=Verb.START, die_at=Moment.IN_STAGE)))
            return _zombie_trial(replace(part, verb=Verb.RESUME), moment, order, interruptions=2)
        return _zombie_trial(part, moment, order)
    except HangError as problem:
        return Report(reached=True, findings=[(Wrong.HANG, str(problem))])


def _zombie_trial(part: Part, moment: Moment, order: Order, *, interruptions: int = 1) -> Report:
    owner = execute(replace(part, stop_at=moment))
    if not owner.until_stopped():
        said = said_by(owner)
        return Report(reached=False, findings=[(Wrong.ANSWER, f"never stopped: {said}")])
    waits_at = Moment.AFTER_CLAIM if order is Order.BEFORE else None
    heir = execute(replace(part, verb=Verb.RESUME, patient=True, stop_at=waits_at, skew=-part.skew))
    # A frozen process that holds SQLite's only lock keeps everybody out: safe, but not live.
    blocked = part.house == "default" and moment is Moment.IN_TRANSACTION
    if blocked:
        heir.ends_within(part.lease_seconds * LEASES_TO_BE_BLOCKED)
    elif order is Order.AFTER:
        heir.wait()
    elif not heir.until_stopped():
        return Report(reached=False, findings=[(Wrong.ANSWER, f"the heir: {said_by(heir)}")])
    owner.go_on()
    late = said_by(owner)
    heir_said = _heir_to_its_end(heir, waits=order is Order.BEFORE)
    findings: list[Finding] = []
    # Who froze before it owned the run claims it anew, and finds it finished.
    expected = "" if moment is Moment.INSIDE_CLAIM else "LeaseLostError"
    if not blocked and late.error != expected:
        findings.append((Wrong.ANSWER, f"the zombie got {late.error or 'no error'}"))
    if heir_said.error:
        findings.append((Wrong.ANSWER, f"the heir got {heir_said.error}: {heir_said.message}"))
    return Report(reached=True, findings=findings + judged(part, interruptions=interruptions))


def late_heir_trial(part: Part) -> Report:
    """Let the owner commit once more between the moment its heir looked and the one it claimed."""
    frozen = Moment.BETWEEN_COMMITS
    owner = execute(replace(part, verb=Verb.START, stop_at=frozen, stops=2))
    heir_part = replace(part, verb=Verb.RESUME, patient=True, stop_at=Moment.BEFORE_CLAIM)
    if not owner.until_stopped():
        return Report(reached=False, findings=[(Wrong.ANSWER, f"the owner: {said_by(owner)}")])
    heir = execute(heir_part)
    stopped = heir.until_stopped()
    owner.go_on()
    if not stopped or not owner.until_stopped():
        return Report(reached=False, findings=[(Wrong.ANSWER, "somebody did not stop")])
    owner.ends_within(part.lease_seconds * 2)  # so that its lease is over once more
    heir.go_on()
    heir_said = said_by(heir)
    owner.go_on()
    late = said_by(owner)
    findings: list[Finding] = []
    if late.error != "LeaseLostError":
        findings.append((Wrong.ANSWER, f"the zombie got {late.error or 'no error'}"))
    if heir_said.error:
        findings.append((Wrong.ANSWER, f"the heir got {heir_said.error}: {heir_said.message}"))
    return Report(reached=True, findings=findings + judged(part, interruptions=1))


def _heir_to_its_end(heir: Child, *, waits: bool) -> Said:
    if heir.said is not None:
        return Said(**heir.said)
    if waits and heir.until_stopped():
        heir.go_on()
    return said_by(heir)


def live_owner_trial(part: Part) -> Report:
    """While its owner lives nobody takes a run, whatever time their own clock shows."""
    ready, ready_end = os.pipe()
    release, release_end = os.pipe()
    hold = Hold(ready=ready_end, release=release)
    owner = execute(replace(part, verb=Verb.START, hold=hold))
    os.read(ready, 1)
    rival = said_by(execute(replace(part, verb=Verb.RESUME, skew=-part.skew)))
    os.write(release_end, b".")
    said = said_by(owner)
    for end in (ready, ready_end, release, release_end):
        os.close(end)
    findings: list[Finding] = []
    if rival.error != "RunIDInUseError":
        findings.append((Wrong.ANSWER, f"the rival got {rival.error or 'the run'}"))
    if said.error:
        findings.append((Wrong.ANSWER, f"the owner got {said.error}: {said.message}"))
    return Report(reached=True, findings=findings + judged(part, interruptions=0))


# --- losing answers


def lost_answer_trial(part: Part, lose: int) -> Report:
    """Lose the answer to one request of a run to its database, together with the connection.

    `count` of the report is that of all requests. Where a commit was carried out, the run must not
    even notice; whatever else is lost may fail it, but then it can be resumed.
    """
    connection = settings.DATABASES[part.house]
    is_mysql = "mysql" in connection["ENGINE"]
    is_request = is_mysql_request if is_mysql else is_postgresql_request
    proxy = AnswerLoser((connection["HOST"], int(connection["PORT"])), is_request, lose)
    runner = execute(replace(part, port=proxy.port))
    with proxy:
        said = said_by(runner)
    findings: list[Finding] = []
    if said.error and proxy.lost is not None and proxy.lost.commits:
        findings.append((Wrong.ANSWER, f"a commit was applied, yet {said.error}: {said.message}"))
    if said.error:
        again = said_by(execute(replace(part, verb=Verb.RESUME)))
        if again.error:
            findings.append((Wrong.LOST, f"not resumed: {again.error}: {again.message}"))
    findings += judged(part, interruptions=bool(said.error), background_may_fail=True)
    return Report(reached=proxy.lost is not None, findings=findings, count=proxy.requests)


def judged(part: Part, *, interruptions: int, background_may_fail: bool = False) -> list[Finding]:
    """The verdict of a process of its own, since this one holds no connection."""
    facts = {"interruptions": interruptions, "background_may_fail": background_may_fail}
    judging = fork(lambda: judge(part, **facts))
    found: Any = judging.wait().said
    return [(rule, message) for rule, message in found]
