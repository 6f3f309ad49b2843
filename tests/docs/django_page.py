"""A Django project for the snippets of one page, with an empty SQLite database.

`python django_page.py MODULE`, in an empty folder, runs them; what the page says of FLUXIO has to
be understood by the app. A page that holds tests is run by pytest instead, with `CONFTEST`.
"""

import runpy
import sys
from importlib import import_module
from pathlib import Path

from django.core.management import call_command

EXTENSIONS = Path(__file__).resolve().parents[2] / "docs/_extensions"

CONFTEST = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import django_page
django_page.configure()
"""


def configure() -> None:
    """Let the app find its tables, and nothing else."""
    sys.path.insert(0, str(EXTENSIONS))
    import_module("page_project").configure("page.sqlite3")


def run(module: str) -> None:
    """Run the snippets of a page."""
    configure()
    call_command("migrate", verbosity=0)
    said = runpy.run_path(module, run_name="__main__").get("FLUXIO")
    if said is None:
        return
    from django.test import override_settings

    from fluxio_django.conf import problems

    with override_settings(FLUXIO=said):
        assert not problems(), problems()


if __name__ == "__main__":
    run(sys.argv[1])
