"""Extras are asked for when they are used, and whoever lacks one is told its name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fluxio.observability.opentelemetry
from fluxio.observability.langfuse import LangfuseCallback
from tests.core.observability.story import Story, tell


def load_anew(
    monkeypatch: pytest.MonkeyPatch,
    *,
    without: str,
    source: Path = Path(fluxio.observability.opentelemetry.__file__),
) -> ModuleType:
    """The module as a process gets it in which a package is not installed."""
    name = "fluxio_without_an_extra"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, without, None)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_without_langfuse_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langfuse", None)
    with pytest.raises(ImportError, match=r"pip install 'fluxio-django\[langfuse\]'"):
        LangfuseCallback()


def test_without_opentelemetry_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = load_anew(monkeypatch, without="opentelemetry")
    with pytest.raises(ImportError, match=r"pip install 'fluxio-django\[opentelemetry\]'"):
        module.OpenTelemetryCallback()


def test_without_redis_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(fluxio.__file__).parent / "store" / "redis" / "__init__.py"
    with pytest.raises(ImportError, match=r"pip install 'fluxio-django\[redis\]'"):
        load_anew(monkeypatch, without="redis.asyncio", source=package)


async def test_with_the_api_of_opentelemetry_alone_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("opentelemetry")
    module = load_anew(monkeypatch, without="opentelemetry.sdk.trace")
    await tell(module.OpenTelemetryCallback(), *Story().all())


def test_importing_fluxio_imports_no_extra() -> None:
    program = (
        "import sys, fluxio, fluxio.runtime.middleware, fluxio.observability.logging\n"
        "extras = {'opentelemetry', 'langfuse', 'pydantic', 'redis', 'django'}\n"
        "print(sorted(extras & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(fluxio.observability.opentelemetry.__file__).parents[2],
    )
    assert result.stdout.strip() == "[]"
