"""The house has the rooms its plan names, and its core stands without any of its guests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FOLDERS = ["benchmarks", "docs", "example_project", "fluxio", "fluxio_django", "tests"]

GUESTS = ["asgiref", "celery", "django", "fluxio_django", "langfuse", "pydantic", "redis", "rich"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_top_level_folder_is_where_the_plan_says(folder: str) -> None:
    assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("package", ["fluxio", "fluxio_django"])
def test_both_packages_tell_type_checkers_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_importing_fluxio_imports_no_framework_and_nothing_optional() -> None:
    program = f"import sys, fluxio; print(*sorted(set(sys.modules) & set({GUESTS})))"
    interpreter = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert interpreter.stdout.split() == []
