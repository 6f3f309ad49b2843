"""The names that users know: where they are, and that nothing heavy comes with them."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

FLUXIO = [
    "Pipeline",
    "stage",
    "Parallel",
    "Send",
    "ForkMode",
    "NodeType",
    "Context",
    "BaseCallback",
    "LoggingCallback",
    "LangfuseCallback",
    "MetricsCallback",
    "OpenTelemetryCallback",
    "Middleware",
    "RetryMiddleware",
    "CacheMiddleware",
    "CircuitBreakerMiddleware",
    "RateLimitMiddleware",
    "CacheStore",
    "InMemoryCache",
    "InMemoryStore",
    "RedisStore",
    "StepHarness",
    "make_ctx",
    "FluxioError",
    "CompilationError",
    "MergeConflictError",
    "ValidationError",
    "CircuitOpenError",
    "NoCheckpointError",
    "CheckpointVersionError",
    "RunIDInUseError",
    "RunCancelledError",
    "RunFailedError",
    "current_step",
    "LeaseLostError",
    "EncodingError",
    "DecodingError",
    "CorruptCheckpointError",
    "StageTimeoutError",
    "ConfigurationError",
    "TransactionRefusedError",
    "Secret",
    "register_type",
    "Watchers",
    "Where",
]

MODULES = {
    "fluxio.store.base": ["Checkpoint", "CheckpointStore"],
    "fluxio.testing.harness": ["StepHarness"],
    "fluxio.testing.fixtures": ["make_ctx"],
    "fluxio.runtime.middleware": ["Middleware", "Next"],
    "fluxio.observability.langfuse": ["LangfuseCallback"],
    "fluxio_django": ["register", "pipelines", "DjangoStore"],
}


@pytest.mark.parametrize("name", FLUXIO)
def test_a_name_is_importable_from_fluxio(name: str) -> None:
    assert getattr(importlib.import_module("fluxio"), name) is not None


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in MODULES.items() for name in names]
)
def test_a_module_path_is_public(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        importlib.import_module("fluxio").Missing  # noqa: B018


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_importing_fluxio_brings_no_framework_and_no_extra() -> None:
    heavy = ["django", "asgiref", "redis", "pydantic", "celery", "cryptography", "opentelemetry"]
    heavy += ["asyncio", "concurrent.futures", "logging", "dataclasses", "inspect", "json"]
    # Coverage of child processes is at work in them before we are.
    new = "set(sys.modules) - before"
    found = run(
        f"import sys; before = set(sys.modules); import fluxio; print({new} & {{*{heavy}}})"
    )
    assert found == "set()"


def test_importing_fluxio_loads_no_room_of_it_before_a_name_is_asked_for() -> None:
    rooms = "sorted(name for name in sys.modules if name.startswith('fluxio'))"
    assert run(f"import sys, fluxio; print({rooms})") == "['fluxio', 'fluxio.lazily']"
    loaded = run(f"import sys, fluxio; fluxio.Context; print({rooms})")
    assert loaded == "['fluxio', 'fluxio.context', 'fluxio.errors', 'fluxio.lazily']"


def test_every_public_name_is_listed_where_it_is_loaded_and_where_types_are_checked() -> None:
    fluxio = importlib.import_module("fluxio")
    tree = ast.parse(inspect.getsource(fluxio))
    checked = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {name: module for module, names in fluxio._HOMES.items() for name in names}
    assert checked == loaded
    assert set(loaded) - set(fluxio.__all__) == {
        "LangfuseCallback",
        "MetricsCallback",
        "OpenTelemetryCallback",
        "RedisStore",
    }
    assert set(fluxio.__all__) <= set(loaded)
    assert set(loaded) <= set(dir(fluxio))


def test_everything_star_imported_needs_no_extra() -> None:
    blocked = "import sys\nfor n in ('redis','langfuse','opentelemetry'): sys.modules[n] = None\n"
    assert run(blocked + "from fluxio import *\nprint(Pipeline.__name__)") == "Pipeline"


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("RedisStore", "redis", "redis"),
        ("LangfuseCallback", "langfuse", "langfuse"),
        ("MetricsCallback", "opentelemetry", "opentelemetry"),
        ("OpenTelemetryCallback", "opentelemetry", "opentelemetry"),
    ],
)
def test_a_name_that_needs_an_extra_says_which(name: str, module: str, extra: str) -> None:
    code = (
        f"import sys\nsys.modules[{module!r}] = None\nimport fluxio\n"
        f"try:\n    fluxio.{name}()\nexcept ImportError as error:\n    print(error)"
    )
    assert f"fluxio-django[{extra}]" in run(code)


def test_the_apps_names_are_importable_before_django_is_set_up() -> None:
    code = (
        "from fluxio_django import register, pipelines, DjangoStore\n"
        "store = DjangoStore()\nprint(type(store).__name__)"
    )
    assert run(code) == "DjangoStore"
