"""The history checker finds what is wrong with a run, and nothing where nothing is wrong."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from fluxio import Context, Pipeline, stage
from fluxio.store.base import Row, RowKind, RunRecord
from fluxio.store.payload import Body, LaneBody, RowFacts, encode_body, seal_row
from fluxio.types import RunStatus
from fluxio.verification import Effect, EffectKind, Rule, verify_effects, verify_log
from fluxio_django import pipelines, register
from fluxio_django.models import Checkpoint, Run
from tests.durability.harness.actors import Verb
from tests.durability.harness.houses import House
from tests.durability.harness.starving import Starving

pytestmark = pytest.mark.durability

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RUN = "r"


def row(sequence: int, kind: RowKind, **facts: Any) -> Row:
    """A sealed row; `route` and `attempt` as they would be."""
    body = Body(
        route=facts.pop("route", None),
        lanes={"": LaneBody(at="a", values={})} if kind is RowKind.START else None,
    )
    known = {"attempt": 1, "ip": sequence, "version": "v", "full": kind is RowKind.START, **facts}
    return seal_row(
        RowFacts(run_id=RUN, sequence=sequence, kind=kind, created_at=NOW, **known),
        encode_body(body),
    )


def start(sequence: int = 0, **facts: Any) -> Row:
    """The beginning of an attempt."""
    return row(sequence, RowKind.START, **facts)


def step(sequence: int, key: str, **facts: Any) -> Row:
    """A step that succeeded."""
    return row(sequence, RowKind.STEP, step=key, **facts)


def record(rows: Sequence[Row], status: RunStatus = RunStatus.SUCCEEDED, **facts: Any) -> RunRecord:
    """The record that fits these rows."""
    known = {
        "attempt": rows[-1].attempt,
        "head": rows[-1].sequence,
        "ip": rows[-1].ip,
        "owner": None,
        "finished_at": None if status.is_open else NOW,
        "error": "",
        **facts,
    }
    return RunRecord(
        run_id=RUN,
        pipeline="p",
        version="v",
        status=status,
        step="",
        token=1,
        lease_expires_at=None,
        takeovers=0,
        parent=None,
        parent_sequence=None,
        created_at=NOW,
        updated_at=NOW,
        **known,
    )


HEALTHY = [start(), step(1, "a"), step(2, "pick", route="left"), step(3, "pick/left/b")]


def broken(rows: Sequence[Row], **facts: Any) -> list[Rule]:
    """The rules that a log breaks."""
    return [violation.rule for violation in verify_log(record(rows, **facts), rows)]


def test_a_log_as_it_should_be_breaks_no_rule() -> None:
    """Nothing is found where nothing is wrong: also after a failure, a replay, a cancellation."""
    failed = [*HEALTHY[:2], row(2, RowKind.ERROR, step="pick")]
    replayed = [*HEALTHY, start(4, attempt=2), step(5, "a", attempt=2)]
    cancelled = [*HEALTHY[:2], row(2, RowKind.END)]
    assert broken(HEALTHY) == []
    assert broken(failed, status=RunStatus.FAILED) == []
    assert broken(replayed) == []
    assert broken(cancelled, status=RunStatus.CANCELLED) == []
    assert broken(HEALTHY[:1], status=RunStatus.RUNNING, owner="me") == []


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (HEALTHY[1:], Rule.ORDER),
        ([HEALTHY[0], *HEALTHY[2:]], Rule.ORDER),
        ([*HEALTHY, step(4, "c", attempt=2)], Rule.ORDER),
        ([start(attempt=2), step(1, "a", attempt=1)], Rule.ORDER),
        ([*HEALTHY, step(4, "a")], Rule.ONCE),
        ([*HEALTHY[:3], step(3, "pick/right/c")], Rule.ROUTE),
        ([*HEALTHY[:3], replace(HEALTHY[3], step="pick/left/c")], Rule.SEAL),
        ([*HEALTHY[:3], replace(HEALTHY[3], payload="")], Rule.SEAL),
    ],
)
def test_what_is_wrong_with_rows_is_found(rows: list[Row], rule: Rule) -> None:
    """G1, G10, G16: gaps, repetitions, decisions that were not kept, rows that were altered."""
    assert rule in broken(rows)


@pytest.mark.parametrize(
    "facts",
    [
        {"head": 2},
        {"ip": 9},
        {"attempt": 2},
        {"owner": "somebody"},
        {"finished_at": None},
        {"status": RunStatus.FAILED},
        {"status": RunStatus.RUNNING, "finished_at": NOW},
    ],
)
def test_a_record_that_disagrees_with_its_rows_is_found(facts: dict[str, Any]) -> None:
    """The record says of a run what its newest row says."""
    assert broken(HEALTHY, **facts) == [Rule.RECORD]


def test_a_run_without_rows_is_found() -> None:
    """Every run begins with one."""
    found = verify_log(record(HEALTHY), [])
    assert [violation.rule for violation in found] == [Rule.ORDER]


class Story:
    """Effects of one run, told in order."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.token = 0

    def claimed(self, head: int) -> "Story":
        """Somebody takes the run, having found this row as the newest."""
        self.token += 10
        return self._add(EffectKind.CLAIMED, sequence=head)

    def ran(self, key: str, *, token: int | None = None, idempotency_key: str = "") -> "Story":
        """A step runs."""
        facts = {"step": key, "attempt": 1, "idempotency_key": idempotency_key or key}
        self._add(EffectKind.STARTED, token=token, **facts)
        return self._add(EffectKind.ACTED, token=token, **facts)

    def recorded(self, sequence: int, *, token: int | None = None) -> "Story":
        """A commit is confirmed."""
        return self._add(EffectKind.RECORDED, token=token, sequence=sequence)

    def told(self, key: str) -> "Story":
        """A callback hears of a step."""
        return self._add(EffectKind.TOLD, step=key)

    def broken(self, rows: Sequence[Row], interruptions: int = 0) -> list[Rule]:
        """The rules that this breaks."""
        found = verify_effects(rows, self.effects, interruptions=interruptions)
        return [violation.rule for violation in found]

    def _add(self, kind: EffectKind, *, token: int | None = None, **facts: Any) -> "Story":
        self.effects.append(Effect(kind=kind, run_id=RUN, token=token or self.token, **facts))
        return self


AB = [start(), step(1, "a"), step(2, "b")]


def test_an_interrupted_story_that_keeps_all_promises_breaks_no_rule() -> None:
    """A step in flight repeats; a row whose confirmation was lost does not."""
    story = Story().claimed(0).ran("a").claimed(0).ran("a").claimed(1).ran("b").recorded(2)
    assert story.broken(AB, interruptions=2) == []


def test_a_recorded_step_that_runs_again_is_found() -> None:
    """G1: whether it was confirmed, found by the heir, or told to a callback."""
    confirmed = Story().claimed(0).ran("a").recorded(1).ran("a").ran("b").recorded(2)
    found = Story().claimed(0).ran("a").claimed(1).ran("a").ran("b").recorded(2)
    told = Story().claimed(0).ran("a").told("a").claimed(0).ran("a").recorded(1).ran("b")
    for story in (confirmed, found, told):
        assert Rule.RERUN in story.broken(AB, interruptions=1)


def test_a_zombie_that_goes_on_is_no_resume_that_repeats() -> None:
    """G1 is about the newest owner; an older one finds out when it commits."""
    story = Story().claimed(0).claimed(0).ran("a").recorded(1).ran("b").recorded(2)
    assert story.ran("a", token=10).broken(AB, interruptions=1) == []


def test_a_commit_behind_a_takeover_is_found() -> None:
    """G2: under the old token, or of the same row twice; and a claim that overlooks a row."""
    late = Story().claimed(0).ran("a").claimed(0).ran("b").recorded(1, token=10).recorded(2)
    twice = Story().claimed(0).ran("a").recorded(1).claimed(1).ran("b").recorded(1)
    blind = Story().claimed(0).ran("a").recorded(1).claimed(0).ran("b").recorded(2)
    for story in (late, twice, blind):
        assert Rule.COMMITTER in story.broken(AB, interruptions=1)


def test_a_confirmation_that_is_noted_late_is_no_commit_behind_a_takeover() -> None:
    """G2: the heir found the row, so it was there."""
    story = Story().claimed(0).ran("a").claimed(1).recorded(1, token=10).ran("b").recorded(2)
    assert story.broken(AB, interruptions=1) == []


def test_a_step_that_runs_too_often_or_under_two_keys_is_found() -> None:
    """G4: once more for each interruption, always under the same key, which is its own."""
    often = Story().claimed(0).ran("a").ran("a").recorded(1).ran("b").recorded(2)
    keys = Story().claimed(0).ran("a", idempotency_key="1").claimed(0).ran("a").ran("b")
    shared = Story().claimed(0).ran("a", idempotency_key="b").ran("b")
    assert Rule.EXECUTIONS in often.broken(AB)
    assert Rule.EXECUTIONS in keys.broken(AB, interruptions=1)
    assert Rule.EXECUTIONS in shared.broken(AB)


def test_a_step_of_a_route_that_was_not_chosen_is_found() -> None:
    """G10: even where it left no row."""
    story = Story().claimed(0).ran("a").ran("pick").ran("pick/right/c").ran("pick/left/b")
    assert Rule.ROUTE in story.broken(HEALTHY)


def test_a_step_that_is_recorded_without_having_run_is_found() -> None:
    """G1: skipping is no better than repeating."""
    assert Story().claimed(0).ran("a").broken(AB) == [Rule.ONCE]


@stage(version="1")
def first(ctx: Context) -> Context:
    return ctx.set("first", 1)


@stage(version="1")
def second(ctx: Context) -> Context:
    return ctx.set("second", 2)


class TestCommand:
    """`fluxio_verify` over the runs of a database."""

    @pytest.fixture(autouse=True)
    def runs(self, database: str, settings: Any) -> Any:
        """Two runs of a registered pipeline."""
        settings.FLUXIO = {"DATABASE": database}
        self.alias = database
        register("verify.me", Pipeline([first, second], durable=True))
        for run_id in ("one", "two"):
            pipelines["verify.me"].invoke_sync({}, run_id=run_id)
        yield
        pipelines.remove("verify.me")

    def verify(self, *words: str) -> tuple[int, str]:
        """The exit code, and what was written."""
        out = StringIO()
        try:
            call_command("fluxio_verify", *words, stdout=out)
        except CommandError as refused:
            return refused.returncode, out.getvalue() + str(refused)
        return 0, out.getvalue()

    def test_runs_as_they_should_be_pass(self) -> None:
        """All of them, or those that are named."""
        assert self.verify() == (0, "Checked 2 runs: nothing is wrong.\n")
        assert self.verify("two") == (0, "Checked 1 run: nothing is wrong.\n")
        code, text = self.verify("--json")
        assert (code, json.loads(text)) == (0, {"checked": 2, "moving": 0, "violations": []})

    def test_what_is_wrong_is_named_with_run_and_row(self) -> None:
        """The exit code is 1, and other runs are checked all the same."""
        rows = Checkpoint.objects.using(self.alias)
        rows.filter(run__run_id="one", sequence=1).update(payload="gone")
        code, text = self.verify()
        assert code == 1
        assert "one, row 1: seal: " in text
        assert "1 of 2 runs" in text
        assert self.verify("two")[0] == 0

    def test_scripts_get_every_violation_in_one_object(self) -> None:
        """Run, rule, row and message."""
        rows = Checkpoint.objects.using(self.alias)
        rows.filter(run__run_id="two", sequence=2).delete()
        code, text = self.verify("--json")
        facts = json.loads(text.splitlines()[0])
        assert code == 1
        assert {(it["run_id"], it["rule"]) for it in facts["violations"]} == {("two", "record")}

    def test_a_run_that_left_its_pipeline_is_found(self) -> None:
        """A registered pipeline of the same version is followed."""
        Run.objects.using(self.alias).filter(run_id="one").update(status="cancelled")
        assert self.verify("one")[0] == 0
        rows = Checkpoint.objects.using(self.alias)
        rows.filter(run__run_id="one", sequence=2).delete()
        last = rows.get(run__run_id="one", sequence=1)
        short = {"head": 1, "ip": last.ip, "status": "succeeded"}
        Run.objects.using(self.alias).filter(run_id="one").update(**short)
        code, text = self.verify("one")
        assert code == 1
        assert "it stands before second" in text

    def test_a_row_of_a_kind_that_does_not_exist_is_found(self) -> None:
        """Nothing that stands in a table makes the command fail."""
        rows = Checkpoint.objects.using(self.alias)
        rows.filter(run__run_id="one", sequence=1).update(kind="miracle")
        Run.objects.using(self.alias).filter(run_id="two").update(status="enchanted")
        code, text = self.verify("--json")
        facts = json.loads(text.splitlines()[0])
        found = [(it["run_id"], it["rule"]) for it in facts["violations"]]
        assert (code, found) == (1, [("one", "seal"), ("two", "record")])

    def test_an_unknown_run_is_refused(self) -> None:
        """With the ids that there are."""
        code, text = self.verify("three")
        assert code == 1
        assert "two" in text


def test_a_run_that_was_interrupted_passes(relational: House, tmp_path: Path) -> None:
    """A run is as it should be at any moment, not only at its end."""
    run = Starving(house=relational, topology="parallel", folder=tmp_path)
    assert run.execute(Verb.START)
    record, rows = relational.record_and_rows(run.run_id)
    assert record is not None
    for end in range(1, len(rows) + 1):
        known = rows[:end]
        at = {"head": known[-1].sequence, "ip": known[-1].ip, "status": RunStatus.RUNNING}
        assert verify_log(replace(record, finished_at=None, **at), known) == []
