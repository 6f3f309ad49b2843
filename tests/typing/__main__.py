"""Asks mypy and pyright whether they see in users' code what they should: `make types` does.

Neither may find fault with the files of good code, and both have to find every line of `refused.py`
that is marked as wrong, and no other one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FAULTS = re.compile(
    r"^\s*(?P<file>[^\s:][^:]*\.py):(?P<line>\d+)(?::\d+)?(?: -|:) error", re.MULTILINE
)
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--warn-unused-ignores", "--no-error-summary"],
    "pyright": ["-m", "pyright", "--pythonpath", sys.executable],
}

Fault = tuple[str, int]


def marked(folder: Path) -> set[Fault]:
    """The lines that are to be found."""
    return {
        (file.name, number)
        for file in folder.glob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if line.endswith("# wrong")
    }


def found(checker: str, files: list[str]) -> tuple[set[Fault], str]:
    """The lines that a checker finds fault with, and everything it said."""
    done = subprocess.run(
        [sys.executable, *CHECKERS[checker], *files], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    faults = {(Path(match["file"]).name, int(match["line"])) for match in FAULTS.finditer(said)}
    if done.returncode not in (0, 1) or bool(done.returncode) is not bool(faults):
        raise SystemExit(f"{checker} could not be asked:\n{said}")
    return faults, said


def main() -> int:
    """Compare both checkers with the marks, and say where they differ."""
    files = sorted(str(file) for file in HERE.glob("*.py") if not file.name.startswith("_"))
    wanted, differ = marked(HERE), False
    for checker in CHECKERS:
        faults, said = found(checker, files)
        for file, line in sorted(faults ^ wanted):
            verb = "finds fault with" if (file, line) in faults else "overlooks"
            print(f"{checker} {verb} {HERE.name}/{file}:{line}")
        if faults - wanted:
            print(said)
        differ |= faults != wanted
    print("mypy and pyright see what they should" if not differ else "they should agree with us")
    return differ


if __name__ == "__main__":
    sys.exit(main())
