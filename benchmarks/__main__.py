"""`python -m benchmarks [--only W1,W6] [--json]`: ours and the floor by turns, with the ratio."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.measuring import Result, measure
from benchmarks.peers import PEERS, Peer, peers_that_are_ready
from benchmarks.project import about, set_up
from benchmarks.workload import Workload
from benchmarks.workloads import chosen_workloads


def main() -> None:
    """Measure, print a table, and with --json one last line for programs."""
    options = _options()
    set_up()
    facts = about()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    names = options.only.split(",") if options.only else None
    peers = peers_that_are_ready(_peer_names(options.peers)) if options.peers else {}
    results = []
    try:
        for workload in chosen_workloads(names):
            results.append(_measured(workload, peers, options.rounds))
    finally:
        for peer in peers.values():
            peer.close()
    print(f"\n{report.table(results)}\n\n{report.notes(results)}")
    if options.out:
        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        shown = f"{report.table(results)}\n\n{report.notes(results)}\n"
        (folder / "results.md").write_text(shown, encoding="utf-8")
        (folder / "results.json").write_text(report.document(results, facts), encoding="utf-8")
    if options.json:
        print(report.one_line(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", default="", help="names of workloads, e.g. W1,W6")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, at least 3")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--out", default="", help="a folder for results.md and results.json")
    known = ", ".join(PEERS)
    parser.add_argument("--peers", default="", help=f"all, or some of {known} (make bench-setup)")
    return parser.parse_args()


def _peer_names(given: str) -> list[str]:
    return list(PEERS) if given == "all" else given.split(",")


def _measured(workload: Workload, peers: dict[str, Peer], rounds: int) -> Result:
    print(f"{workload.name}: {workload.title}", file=sys.stderr, flush=True)
    able = {
        name: peer.measure_of(workload.name) for name, peer in peers.items() if peer.can(workload)
    }
    result = measure(workload, able, rounds)
    print(f"    {result.ratio:.2f} (goal {workload.goal})", file=sys.stderr, flush=True)
    return result


main()
