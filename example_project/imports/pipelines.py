"""The import of airports, as a pipeline.

The context carries references and counts, never rows: a stage that needs rows reads the file again,
which then proves to be the same one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from example_project.imports.files import Row, installed_file, numbered_rows, sha256_of
from example_project.imports.models import (
    Airport,
    Country,
    LedgerEntry,
    RejectedRow,
    SourceFile,
    TimeZone,
)
from example_project.imports.rows import PARTS, Inspector, airport_of, part_of
from example_project.imports.upserts import upsert
from fluxio import Context, Parallel, Pipeline, Send, Stage, current_step, stage
from fluxio_django import register

BULK_FROM = 5_000
"""From how many rows on the parts of the world are written in transactions of their own."""
BATCH = 1_000
"""How many airports are written before progress is told."""


@stage
def read_file(ctx: Context) -> Context:
    """Find the file that `path` names, or the installed one, and remember what is in it."""
    path = Path(ctx.get("path") or installed_file()).resolve()
    sha256 = sha256_of(path)
    return ctx.update(
        {
            "path": str(path),
            "sha256": sha256,
            "rows": sum(1 for _ in numbered_rows(path, sha256=sha256)),
            "bulk_from": ctx.get("bulk_from", BULK_FROM),
        }
    )


@stage(transactional=True)
def validate_rows(ctx: Context) -> Context:
    """Keep the bad rows aside with their reasons, and count the good ones of each part."""
    source, _ = SourceFile.objects.get_or_create(
        sha256=ctx["sha256"], defaults={"path": ctx["path"], "rows": ctx["rows"]}
    )
    inspector, shares, rejected = Inspector(), Counter(dict.fromkeys(PARTS, 0)), []
    for line, row in numbered_rows(Path(ctx["path"]), sha256=ctx["sha256"]):
        if reasons := inspector.reasons(line, row):
            rejected.append(RejectedRow(source=source, line=line, values=row, reasons=reasons))
        else:
            shares[part_of(row)] += 1
        _tell(line - 1, ctx["rows"], "rows")
    source.rejected.all().delete()
    RejectedRow.objects.bulk_create(rejected)
    return ctx.update({"valid": shares.total(), "rejected": len(rejected), "shares": dict(shares)})


@stage(transactional=True)
def count_countries(ctx: Context) -> Context:
    """Add up the airports of each country."""
    heights: defaultdict[str, list[float]] = defaultdict(list)
    for row in _valid_rows(ctx):
        heights[row["country"]].append(float(row["elevation"]))
    upsert(
        [
            Country(code=code, airports=len(feet), highest_feet=max(feet))
            for code, feet in heights.items()
        ]
    )
    return ctx.set("countries", len(heights))


@stage(transactional=True)
def count_time_zones(ctx: Context) -> Context:
    """Add up the airports of each time zone."""
    countries: defaultdict[str, list[str]] = defaultdict(list)
    for row in _valid_rows(ctx):
        countries[row["tz"]].append(row["country"])
    upsert(
        [
            TimeZone(name=name, airports=len(codes), countries=len(set(codes)))
            for name, codes in countries.items()
        ]
    )
    return ctx.set("time_zones", len(countries))


@stage
def choose_route(ctx: Context) -> Send:
    """A large file is written part by part, so that a crash costs one part and not the file."""
    return Send("bulk" if ctx["valid"] >= ctx["bulk_from"] else "small", {"upserted": {}})


def upsert_airports(ctx: Context, *, share: str, parts: Sequence[str]) -> Context:
    """Write the airports of some parts of the world, and an entry in the ledger for each."""
    airports = [airport_of(row) for row in _valid_rows(ctx) if part_of(row) in parts]
    known, step = Airport.objects.count(), current_step()
    for done in range(0, len(airports), BATCH):
        batch = airports[done : done + BATCH]
        upsert(batch)
        LedgerEntry.objects.bulk_create(
            LedgerEntry(run_id=step.run_id, step=step.key, airport_id=airport.code)
            for airport in batch
        )
        step.progress(done + len(batch), len(airports), "airports")
    created = Airport.objects.count() - known
    counts = {"created": created, "updated": len(airports) - created}
    return ctx.set("upserted", {**ctx["upserted"], share: counts})


def upserting(share: str, parts: Sequence[str]) -> Stage:
    """A stage that writes one share of the airports in a transaction of its own."""
    write = partial(upsert_airports, share=share, parts=parts)
    return stage(name=f"upsert_{share}", transactional=True)(write)


@stage
def summarise(ctx: Context) -> Context:
    """Say what the run did."""
    written = ctx["upserted"].values()
    return ctx.set(
        "summary",
        {
            "rows": ctx["rows"],
            "created": sum(counts["created"] for counts in written),
            "updated": sum(counts["updated"] for counts in written),
            "rejected": ctx["rejected"],
            "transactions": len(written),
        },
    )


@register("imports.airports")
def airports() -> Pipeline:
    """Build the pipeline; its input may set `path`, and `bulk_from` (rows)."""
    return Pipeline(
        [
            read_file,
            validate_rows,
            Parallel([count_countries, count_time_zones], name="enrich"),
            choose_route,
            {
                "bulk": [upserting(part, [part]) for part in PARTS],
                "small": upserting("everything", PARTS),
            },
            summarise,
        ],
        durable=True,
    )


def _valid_rows(ctx: Context) -> Iterator[Row]:
    source = RejectedRow.objects.filter(source__sha256=ctx["sha256"])
    rejected = set(source.values_list("line", flat=True))
    for line, row in numbered_rows(Path(ctx["path"]), sha256=ctx["sha256"]):
        if line not in rejected:
            yield row


def _tell(done: int, total: int, what: str) -> None:
    if done % BATCH == 0 or done == total:
        current_step().progress(done, total, what)
