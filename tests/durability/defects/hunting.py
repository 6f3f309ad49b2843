"""Looks for planted defects with the tests that have to catch them."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.durability.defects.planting import VARIABLE, Defect, all_defects
from tests.proofs.sizes import Scale

ROOT = Path(__file__).resolve().parents[3]
FAILED = 1
"""The exit code of pytest when tests ran and some of them failed."""
PASSED = 0
EVERYTHING = "soak or not soak"
"""Soak tests are left out unless the command line speaks of them."""


@dataclass(frozen=True, kw_only=True)
class Hunt:
    """What the tests said with a defect in place, and without any."""

    caught: bool
    output: str


def hunt(defect: Defect | None, tests: Sequence[str]) -> Hunt:
    """Run tests in a process of their own; without a defect all of them have to pass."""
    plugin = "tests.durability.defects.planting"
    environment = {**os.environ, VARIABLE: defect.name if defect else ""}
    # The process has databases of its own.
    environment.pop("FLUXIO_TEST_RUN", None)
    environment["FLUXIO_PROOFS"] = Scale.PULL_REQUEST
    chosen = ["-m", EVERYTHING, *tests]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", plugin, *chosen],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = FAILED if defect else PASSED
    return Hunt(caught=done.returncode == wanted, output=done.stdout + done.stderr)


def hunt_all(names: Iterable[str] = ()) -> int:
    """Hunt for all defects, or for these, and say how many were caught; gives an exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    defects = all_defects()
    chosen = [defects[name] for name in names] or list(defects.values())
    tests = sorted({test for defect in chosen for test in defect.tests})
    without = hunt(None, tests)
    if not without.caught:
        print(f"The tests fail without any defect:\n{without.output}")
        return 1
    caught = 0
    for defect in chosen:
        found = hunt(defect, defect.tests)
        caught += found.caught
        print(f"{'caught' if found.caught else 'MISSED':<7} {defect.name}: {defect.wrong}")
        if not found.caught:
            print(found.output)
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1
