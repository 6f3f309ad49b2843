"""`python -m benchmarks [--only W1,W6] [--json]`: ours and the floor by turns, with the ratio."""

from __future__ import annotations

import argparse
import json
from statistics import median

from benchmarks.project import set_up


def main() -> None:
    """Measure, print a table, and with --json one last line for programs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", default="", help="names of workloads, e.g. W1,W6")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, at least 3")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    database = set_up()
    from benchmarks.workloads import all_workloads, growing_bytes

    wanted = set(options.only.split(",")) if options.only else None
    chosen = [work for work in all_workloads() if wanted is None or work.name in wanted]
    print(f"on {database}, {options.rounds} rounds, ours and the floor by turns\n")
    print(f"{'':4} {'ours: median (min-max)':>28} {'floor: median (min-max)':>28} {'ratio':>6}")
    results = []
    for work in chosen:
        work.ours(), work.floor()
        pairs = [(work.floor(), work.ours()) for _ in range(max(3, options.rounds))]
        floors, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ratio = median(ours) / median(floors)
        print(f"{work.name:4} {_spread(ours, work.unit)} {_spread(floors, work.unit)} {ratio:6.2f}")
        print(f"     {work.title}")
        if work.name == "W3":
            print(f"     payloads written: {growing_bytes() / 1e6:.2f} MB")
        results.append(
            {
                "workload": work.name,
                "value": median(ours),
                "floor": median(floors),
                "ratio": ratio,
                "unit": work.unit,
            }
        )
    if options.json:
        print(json.dumps({"results": results}))


def _spread(figures: list[float], unit: str) -> str:
    text = f"{median(figures):.1f} {unit} ({min(figures):.1f}-{max(figures):.1f})"
    return f"{text:>28}"


main()
