"""`python -m tests.mutation --modules machine,driver --sample 60`: how many mutants are noticed."""

from __future__ import annotations

import argparse
import sys

from tests.mutation.rooms import ROOMS
from tests.mutation.trials import Trial, kill_rate, tried

FLOOR = 90.0
"""Per cent of the mutants that the tests have to notice."""


def main() -> int:
    """Try mutants, print those that nobody noticed, and say whether enough were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--modules", default=",".join(ROOMS), help=f"any of {', '.join(ROOMS)}")
    parser.add_argument("--sample", type=int, help="how many mutants of each; without it, all")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another sample")
    parser.add_argument("--verbose", action="store_true", help="print the killed ones, too")
    options = parser.parse_args()
    trials: list[Trial] = []
    for room in options.modules.split(","):
        found: list[Trial] = []
        for trial in tried(room, options.sample, options.seed):
            found.append(trial)
            if options.verbose or not trial.killed:
                print(trial, flush=True)
        print(_summary(room, found), flush=True)
        trials += found
    print(_summary("all", trials))
    return 0 if kill_rate(trials) >= FLOOR else 1


def _summary(name: str, trials: list[Trial]) -> str:
    killed = sum(trial.killed for trial in trials)
    seconds = sum(trial.seconds for trial in trials)
    return f"{name}: {killed} of {len(trials)} killed, {kill_rate(trials):.1f} %, {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
