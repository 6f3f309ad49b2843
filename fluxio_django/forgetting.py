"""Forgetting: what an object has left in runs is masked or deleted, and the history says so."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.db.models import F

from fluxio.codec import DEFAULT_CODEC
from fluxio.errors import ConfigurationError, CorruptCheckpointError, StoreError
from fluxio.store.base import Row
from fluxio.store.payload import ForgottenBody, reseal_row, unsealed_text
from fluxio.store.vault import lock_row
from fluxio.types import RunStatus
from fluxio_django.conf import project_keyring
from fluxio_django.faults import RACES, surely
from fluxio_django.isolation import own_transaction
from fluxio_django.records import ROW_FIELDS, row_of, storable
from fluxio_django.references import FORGOTTEN_NAME, STORED_NAME
from fluxio_django.retention import delete_runs, lock_runs, what_points_to_it
from fluxio_django.statements import error_type_of
from fluxio_django.subjects import type_of
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from fluxio_django.querysets import RunQuerySet

logger = logging.getLogger("fluxio.audit")

_ROWS_AT_ONCE = 200
_RUNS_AT_ONCE = 500
_REFERENCE, _FORGOTTEN = f"$:{STORED_NAME}", f"$:{FORGOTTEN_NAME}"
_OPEN = tuple(status.value for status in RunStatus if status.is_open)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The object to be forgotten: its model and its primary key; it need not exist any more."""

    model: type[models.Model]
    pk: Any

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target that `app.Model:pk` names.

        Raises:
            ConfigurationError: there is no such model, or it can have no such key.
        """
        label, colon, key = text.partition(":")
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError):
            model = None
        if model is None or not colon or not key:
            raise ConfigurationError(
                f"{text!r} names no object of an installed model. Write auth.User:7, for instance."
            )
        field: Any = model._meta.pk
        try:
            return cls(model=model, pk=field.to_python(key))
        except ValidationError as problem:
            raise ConfigurationError(
                f"{key!r} can be no primary key of {model._meta.label}."
            ) from problem

    def __str__(self) -> str:
        return f"{self.model._meta.label}:{self.pk}"

    @property
    def labels(self) -> list[str]:
        """The labels under which references to the object may stand: those of proxies as well."""
        concrete = self.model._meta.concrete_model
        return [
            one._meta.label for one in apps.get_models() if one._meta.concrete_model is concrete
        ]

    @property
    def stored_key(self) -> Any:
        """The primary key as it stands in a stored text."""
        return json.loads(DEFAULT_CODEC.encode_value(self.pk))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """A run in which the object has left something.

    `about` says that the run is about the object, so that all its values count; `rows` are the
    sequences of the rows that refer to it; `asked` that it is the user who asked for the run. An
    open run has to end before anything is changed.
    """

    pk: int
    run_id: str
    pipeline: str
    status: str
    about: bool
    rows: tuple[int, ...] = ()
    asked: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self.status in _OPEN


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgetting:
    """A wish to forget: by whom, why, and whether runs about the object are to go altogether."""

    by: str
    reason: str
    delete: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgot:
    """What became of one trace: how many rows were masked, that a link was cut, or all deleted.

    All are nothing where the run was open or locked, gone, damaged, or needed by another table;
    `problem` says which.
    """

    trace: Trace
    masked: int = 0
    deleted: bool = False
    cut: bool = False
    problem: str = ""


def traces(tables: Tables, target: Target) -> list[Trace]:
    """Where the object has left something; nothing is changed. Every row is searched."""
    referring: dict[int, list[int]] = {}
    for label in target.labels:
        for run, sequence in _referring_rows(tables, label, target.stored_key):
            referring.setdefault(run, []).append(sequence)
    kind = type_of(tables, target.model).pk
    linked = tables.runs.filter(subject_type=kind, subject_id=str(target.pk))
    about = set(linked.values_list("pk", flat=True))
    asked = set(_asked_for(tables, target).values_list("pk", flat=True))
    columns = ("pk", "run_id", "pipeline", "status")
    found = sorted({*about, *asked, *referring})
    return [
        Trace(
            pk=pk,
            run_id=run_id,
            pipeline=pipeline,
            status=status,
            about=pk in about,
            rows=tuple(sorted(referring.get(pk, ()))),
            asked=pk in asked,
        )
        for start in range(0, len(found), _RUNS_AT_ONCE)
        for pk, run_id, pipeline, status in tables.runs.filter(
            pk__in=found[start : start + _RUNS_AT_ONCE]
        )
        .order_by("pk")
        .values_list(*columns)
    ]


def forget_all(tables: Tables, target: Target, wish: Forgetting) -> Iterator[Forgot]:
    """Mask or delete all traces (see `forget`), and those that are left while that is done."""
    seen: set[int] = set()
    for _ in range(RACES):
        found = [trace for trace in traces(tables, target) if trace.pk not in seen]
        if not found:
            return
        seen.update(trace.pk for trace in found)
        yield from forget(tables, target, found, wish)


def forget(
    tables: Tables, target: Target, found: Sequence[Trace], wish: Forgetting
) -> Iterator[Forgot]:
    """Mask or delete, one transaction for each run; gives what became of each.

    Of a run about the object every value is masked, and the link is cut; of any other the
    references to it. A run that the object, a user, asked for is then asked for by nobody. Rows are
    sealed anew, keep their place and all their other facts, and say when they were masked, by whom
    and why.
    """
    for trace in found:
        try:
            done = surely(tables.alias, _Attempt(tables, target, trace, wish))
        except CorruptCheckpointError as problem:
            done = Forgot(trace=trace, problem=str(problem))
        except StoreError as problem:
            if (reason := what_points_to_it(problem)) is None:
                raise
            done = Forgot(trace=trace, problem=f"{reason} Delete what points to it, or mask it.")
        if done.masked or done.deleted or done.cut:
            logger.info(
                "%s had %s forgotten in run %s (%s): %s",
                wish.by,
                target,
                trace.run_id,
                "deleted" if done.deleted else f"{done.masked} rows masked, links cut",
                wish.reason,
                extra={"run_id": trace.run_id, "pipeline": trace.pipeline},
            )
        yield done


class _Attempt:
    """One trace to be forgotten; call it until it says what became of it.

    What a try has done whose answer was lost, the next one finds done, and tells of as its own.
    """

    def __init__(self, tables: Tables, target: Target, trace: Trace, wish: Forgetting) -> None:
        self._tables = tables
        self._target = target
        self._trace = trace
        self._wish = wish
        self._would_be = Forgot(trace=trace)

    def __call__(self) -> Forgot:
        before, done = self._would_be, self._forget()
        runs = self._tables.runs.filter(pk=self._trace.pk)
        if before.deleted and done.problem and not runs.exists():
            return before
        return before if before.masked and not (done.masked or done.problem) else done

    def _forget(self) -> Forgot:
        tables, trace = self._tables, self._trace
        with own_transaction(tables.alias):
            ended = tables.runs.exclude(status__in=_OPEN)
            if not lock_runs(tables, ended, [trace.pk]):
                problem = "It has not ended, or somebody holds it. Cancel it, then ask again."
                return Forgot(trace=trace, problem=problem)
            self._would_be = self._change()
            return self._would_be

    def _change(self) -> Forgot:
        tables, trace = self._tables, self._trace
        if trace.about and self._wish.delete:
            delete_runs(tables, [trace.pk])
            return Forgot(trace=trace, deleted=True)
        # Whoever has read the run, or waits to claim it, has to look at it again.
        tables.runs.filter(pk=trace.pk).update(token=F("token") + 1)
        mask = _Mask(self._target, self._wish, everything=trace.about)
        masked = sum(_mask_row(tables, trace, pk, row, mask) for pk, row in _rows(tables, trace))
        if trace.about:
            _cut_link(tables, trace)
        if trace.asked:
            tables.runs.filter(pk=trace.pk).update(requested_by=None)
        return Forgot(trace=trace, masked=masked, cut=trace.about or trace.asked)


def _asked_for(tables: Tables, target: Target) -> RunQuerySet[Any]:
    """The runs that the object asked for, if it is a user."""
    user = get_user_model()._meta.concrete_model
    if target.model._meta.concrete_model is not user:
        return tables.runs.none()
    return tables.runs.filter(requested_by_id=target.pk)


def _cut_link(tables: Tables, trace: Trace) -> None:
    # What a key was made of can be guessed, and an ended run keeps no other one out.
    tables.keys.filter(run_id=trace.run_id).delete()
    run = tables.runs.filter(pk=trace.pk)
    error = run.values_list("error", flat=True).get()
    run.update(
        subject_type=None,
        subject_id="",
        error=error_type_of(error),
        progress_note="",
        cancel_reason="",
    )


def _mask_row(tables: Tables, trace: Trace, pk: int, row: Row, mask: _Mask) -> bool:
    text = unsealed_text(trace.run_id, row)
    body = json.loads(text)
    if not mask.apply(body):
        return False
    masked = reseal_row(trace.run_id, row, json.dumps(body, separators=(",", ":")))
    sealed = lock_row(trace.run_id, masked, project_keyring())
    tables.rows.filter(pk=pk).update(payload=sealed.payload, digest=sealed.digest, size=sealed.size)
    return True


def _rows(tables: Tables, trace: Trace) -> Iterator[tuple[int, Row]]:
    """The rows to be looked at, with their primary keys."""
    rows = tables.rows.filter(run=trace.pk).order_by("sequence")
    if not trace.about:
        rows = rows.filter(sequence__in=trace.rows)
    last = -1
    while batch := list(
        rows.filter(sequence__gt=last).values_list("pk", *ROW_FIELDS)[:_ROWS_AT_ONCE]
    ):
        for pk, *values in batch:
            row = row_of(trace.run_id, values, connections[tables.alias])
            last = row.sequence
            yield pk, row


def _referring_rows(tables: Tables, label: str, key: Any) -> Iterator[tuple[int, int]]:
    """Run and sequence of the rows that hold a reference; the text is only searched for first."""
    told = json.dumps({"model": label, "pk": key}, separators=(",", ":"))[:-1] + ","
    likely = tables.rows.order_by("pk")
    if project_keyring() is None:  # else no database can search them
        likely = likely.filter(payload__contains=f'{{"{_REFERENCE}":{told}')
    columns = ("pk", "run", "run__run_id", *ROW_FIELDS)
    last = 0
    while batch := list(likely.filter(pk__gt=last).values_list(*columns)[:_ROWS_AT_ONCE]):
        for pk, run, run_id, *values in batch:
            last = pk
            try:
                row = row_of(run_id, values, connections[tables.alias])
                text = unsealed_text(run_id, row)
            except CorruptCheckpointError:
                continue  # nobody can read it, and fluxio_verify tells
            if told in text:  # some databases search without regard to case
                yield run, row.sequence


class _Mask:
    """Replaces values in the plain JSON of a body, each by a mark of its own."""

    def __init__(self, target: Target, wish: Forgetting, *, everything: bool) -> None:
        self._labels = set(target.labels)
        self._key = target.stored_key
        self._everything = everything
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._told = ForgottenBody(at=now, by=storable(wish.by), reason=storable(wish.reason))
        self._marks = 0

    def apply(self, body: dict[str, Any]) -> bool:
        """Mask a body in place; whether there was anything to mask."""
        self._marks = 0
        body["writes"] = self._values(body["writes"])
        for lane in body.get("lanes", {}).values():
            lane["values"] = self._values(lane["values"])
            lane["writes"] = self._values(lane["writes"])
        if self._everything and body.get("error"):
            body["error"] = [body["error"][0], "", ""]
            self._marks += 1
        if "saved" in body:
            self._saved(body["saved"])
        if self._marks:
            body["forgotten"] = self._told.facts()
        return self._marks > 0

    def _saved(self, saved: dict[str, Any]) -> None:
        """What a snapshot says beyond its state, which holds open branches as a text."""
        if self._everything:
            saved["meta"] = {}
            self._marks += 1
        elif isinstance(saved["meta"].get("lanes"), str):
            inner = json.loads(saved["meta"]["lanes"])
            before = self._marks
            for lane in inner.get("lanes", {}).values():
                lane["values"] = self._values(lane["values"])
                lane["writes"] = self._values(lane["writes"])
            if self._marks > before:
                saved["meta"]["lanes"] = json.dumps(inner, separators=(",", ":"))

    def _values(self, values: Any) -> Any:
        """A context, or what a step wrote; keys stay."""
        if not self._everything or not isinstance(values, dict):
            return self._walk(values)
        if values.keys() == {"$dict"}:
            return {"$dict": [[key, self._mark(item)] for key, item in values["$dict"]]}
        return {key: self._mark(item) for key, item in values.items()}

    def _walk(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {_REFERENCE}:
            told = value[_REFERENCE]
            if told["model"] in self._labels and told["pk"] == self._key:
                return self._mark(value)
            return value
        return {key: self._walk(item) for key, item in value.items()}

    def _mark(self, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {_FORGOTTEN}:
            return value  # it was masked before
        self._marks += 1
        return {_FORGOTTEN: {"number": self._marks}}
