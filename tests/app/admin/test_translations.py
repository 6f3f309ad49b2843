"""The German catalogue: complete, compiled, and what people get to read."""

from __future__ import annotations

import gettext
import re
import shutil
from ast import literal_eval
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django.utils.translation import override

import fluxio_django
from fluxio_django import services
from fluxio_django.admin.measures import age_text
from tests.app.admin.desk import Confirm, address, page_of
from tests.app.admin.shop import CHECKOUT, Shop

APP = Path(fluxio_django.__file__).parent
CATALOGUE = Path("locale", "de", "LC_MESSAGES", "django.po")

_PART = re.compile(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:".*"\n?)+)', re.MULTILINE)
_PLACE = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\}|<[^>]+>")


def entries(file: Path) -> Iterator[dict[str, str]]:
    """What a catalogue holds, by `msgid`, `msgstr` and so on; without its header."""
    for block in file.read_text(encoding="utf-8").split("\n\n")[1:]:
        yield {
            part: "".join(literal_eval(line) for line in text.strip().split("\n"))
            for part, text in _PART.findall(f"{block}\n")
        }


def translations(entry: dict[str, str]) -> list[str]:
    return [text for part, text in entry.items() if part.startswith("msgstr")]


def test_everything_is_translated_with_what_is_filled_in() -> None:
    found = list(entries(APP / CATALOGUE))
    assert len(found) > 300
    for entry in found:
        for text in translations(entry):
            assert text, entry["msgid"]
            model = entry.get("msgid_plural", entry["msgid"])
            # "Row 1" may do without its number; nothing may name what is not there.
            assert set(_PLACE.findall(text)) <= set(_PLACE.findall(model)), entry["msgid"]
        if "msgid_plural" not in entry:
            assert sorted(_PLACE.findall(text)) == sorted(_PLACE.findall(entry["msgid"]))


def test_the_compiled_catalogue_is_up_to_date() -> None:
    with (APP / CATALOGUE).with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for entry in entries(APP / CATALOGUE):
        if "msgid_plural" in entry:
            forms = [compiled.ngettext(entry["msgid"], entry["msgid_plural"], n) for n in (1, 2)]
        else:
            forms = [compiled.gettext(entry["msgid"])]
        assert forms == translations(entry), "run `make messages`"


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="collecting strings takes gettext")
def test_no_string_of_the_app_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "app"
    only = shutil.ignore_patterns("__pycache__", "locale", "*.css", "*.mo")
    shutil.copytree(APP, copy, ignore=only)
    (copy / "locale").mkdir()
    monkeypatch.chdir(copy)
    call_command("makemessages", locale=["de"], verbosity=0)
    wanted = {entry["msgid"] for entry in entries(copy / CATALOGUE)}
    assert wanted == {entry["msgid"] for entry in entries(APP / CATALOGUE)}


@pytest.fixture
def german(settings: Any, root: Client) -> Client:
    settings.LANGUAGE_CODE = "de"
    return root


def test_the_pages_speak_german(shop: Shop, german: Client) -> None:
    run = shop.fail("bad")
    base = "/admin/fluxio_django/"
    expected = {
        f"{base}run/": "heute fehlgeschlagen",
        page_of(run): "Bei Schritt charge mit CardDeclinedError fehlgeschlagen",
        address("fork", run): "Was Sie so lassen, bleibt genau",
        address("resume", run): "Lauf bad: Fortsetzen",
        address("prune", run): "werden endgültig gelöscht",
        address("diff", run): "Schlüssel für Schlüssel verglichen",
        address("state", run): "Gesetzt von Zeile",
        f"{base}run/redrive/?pipeline={CHECKOUT}&status=failed": "1 Lauf neu einreihen",
        f"{base}pipelineversion/": "Bilder, Fehlschläge, Dauern",
        f"{base}pipelineversion/pipelines/": "95 von 100 binnen",
        f"{base}pipelineversion/pipeline/?pipeline={CHECKOUT}": "Dauer der Schritte",
        f"{base}queue/": "Längste Wartezeit",
    }
    for where, text in expected.items():
        assert text in german.get(where).content.decode(), where


def test_ages_decline_their_words() -> None:
    now = timezone.now()
    with override("de"):
        assert age_text(now - timedelta(days=3, hours=1)) == "vor 3 Tagen"
        assert age_text(now - timedelta(hours=1, minutes=5)) == "vor 1 Stunde"


def test_the_trail_is_in_one_language(shop: Shop, german: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    confirm(german, address("fork", run), as_run_id="again", patch='{"note": 1}')
    assert LogEntry.objects.get().change_message.startswith("Fork as again, setting note [")
    assert services.state("again")["note"] == 1
