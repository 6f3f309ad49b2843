"""Compares a built wheel and sdist with the files of this repository they should hold."""

import fnmatch
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

PACKAGES = ("fluxio", "fluxio_django")
# One of each kind that a package may lose without any test in the repository noticing.
WHEEL_NEEDS = (
    "fluxio/py.typed",
    "fluxio_django/py.typed",
    "fluxio_django/migrations/0001_initial.py",
    "fluxio_django/templates/admin/fluxio_django/*.html",
    "fluxio_django/static/fluxio_django/*.css",
    "fluxio_django/management/commands/fluxio_*.py",
    "*.dist-info/licenses/LICENSE",
)
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
    """Say what the wheel lacks, what it has too much, and what it says wrongly of itself."""
    with zipfile.ZipFile(wheel) as archive:
        everything = set(archive.namelist())
        said = {
            name.rpartition("/")[2]: archive.read(name).decode()
            for name in everything
            if name.endswith((".dist-info/METADATA", ".dist-info/entry_points.txt"))
        }
    names = {name for name in everything if ".dist-info/" not in name}
    expected = repository_files(*PACKAGES)
    return [
        *(f"the wheel lacks {name}" for name in sorted(expected - names)),
        *(f"the wheel should not hold {name}" for name in sorted(names - expected)),
        *(
            f"the wheel has nothing like {pattern}"
            for pattern in WHEEL_NEEDS
            if not fnmatch.filter(everything, pattern)
        ),
        *metadata_problems(said["METADATA"]),
        *(
            []
            if "fluxio_django.pytest_plugin" in said["entry_points.txt"]
            else ["no pytest plugin"]
        ),
    ]


def metadata_problems(text: str) -> list[str]:
    """Say what an index would show wrongly."""
    metadata = Parser().parsestr(text)
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    described = str(metadata.get_payload())
    return [
        *(f"it requires {line}" for line in required if not line.lower().startswith("django")),
        *([] if described.startswith("# fluxio-django") else ["its description is not the README"]),
        *([] if metadata["License-Expression"] else ["it names no license"]),
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
