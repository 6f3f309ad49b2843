"""Compares a built wheel and sdist with the files of this repository they should hold."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGES = ("fluxio", "fluxio_django")
SDIST_NEEDS = ("CHANGELOG.md", "LICENSE", "Makefile", "README.md", "manage.py", "pyproject.toml")


def repository_files(*folders: str) -> set[str]:
    """List the files of these folders that git knows or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders],
        capture_output=True,
        check=True,
        text=True,
    )
    return {name for name in listing.stdout.split("\0") if name and Path(name).is_file()}


def wheel_problems(wheel: Path) -> list[str]:
    """Say what the wheel lacks and what it has too much."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = repository_files(*PACKAGES)
    return [f"the wheel lacks {name}" for name in sorted(expected - names)] + [
        f"the wheel should not hold {name}" for name in sorted(names - expected)
    ]


def sdist_problems(sdist: Path) -> list[str]:
    """Say what somebody who builds and tests from the sdist would miss."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = repository_files(*PACKAGES, "tests").union(SDIST_NEEDS)
    return [f"the sdist lacks {name}" for name in sorted(expected - names)]


def main(folder: Path) -> int:
    """Check the one wheel and the one sdist of a folder."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    problems = wheel_problems(wheel) + sdist_problems(sdist)
    print(*problems or [f"{wheel.name} and {sdist.name} hold what they should"], sep="\n")
    return len(problems) > 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
