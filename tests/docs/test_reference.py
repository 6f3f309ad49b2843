"""The reference has a place for every public name, check, setting and command."""

from __future__ import annotations

import fluxio
import fluxio_django
from tests.docs.pages import DOCS

REFERENCE = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
BY_MODULE = {"fluxio.errors"}


def test_every_public_name_has_an_entry() -> None:
    named = [*fluxio.__all__, *fluxio_django.__all__]
    missing = [
        name
        for name in named
        if f":: {name}\n" not in REFERENCE
        and getattr(getattr(fluxio, name, None), "__module__", "") not in BY_MODULE
    ]
    assert not missing
