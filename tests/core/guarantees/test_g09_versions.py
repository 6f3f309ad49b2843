"""G9: code drift is refused before anything runs, and a version is the same in every process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fluxio import CheckpointVersionError, InMemoryStore, Pipeline
from tests.proofs.tally import Tally

ROOT = Path(__file__).resolve().parents[3]
MODULE = "shop_under_test"

SOURCE = '''
"""A shop."""
import functools
from fluxio import Context, ForkMode, NodeType, Parallel, Pipeline, RetryPolicy, Send, stage

ran = []

@stage(version="1")
async def gate(ctx):
    ran.append("gate")
    raise ValueError("not yet")

class Order:
    number: int

    @classmethod
    def model_validate(cls, values):
        return int(values["number"])

@stage(input_schema=Order, timeout=3, retry=RetryPolicy(max_attempts=2))
async def total(ctx):
    # What it costs.
    price = min(ctx["number"], 100) * 19
    return ctx.set("total", price)

def discount(percent, limit=50):
    def lower(ctx):
        return ctx.set("total", ctx["total"] * (100 - percent) // 100)
    return lower

class Tax:
    def __init__(self, rate):
        self.rate = rate
    def __call__(self, ctx):
        return ctx.set("tax", self.net(ctx) * self.rate)
    def net(self, ctx):
        return ctx["total"]

def note(text, ctx, sign="-"):
    return ctx.set("note", text + sign)

async def words(ctx):
    for word in ("one", "two"):
        yield word

@stage
def pick(ctx):
    return Send("near" if ctx["number"] < 3 else "far")

@stage(version="first")
def named(ctx):
    return ctx.set("named", 1)

walk = stage(name="walk")(lambda ctx: ctx.set("way", "walk"))
drive = stage(name="drive")(lambda ctx: ctx.set("way", "drive"))

NODES = [
    gate,
    total,
    stage(name="discount")(discount(10)),
    stage(name="tax")(Tax(0.19)),
    Parallel([stage(name="note")(functools.partial(note, "thanks")), stage(words)], name="fan"),
    pick,
    {"near": walk, "far": [drive, named]},
    Pipeline([stage(name="last")(Tax(0.5).net)]),
]
'''

CHANGING = {
    "a constant": ("* 19", "* 20"),
    "an operator": ("(100 - percent)", "(100 + percent)"),
    "a comparison": ("< 3 else", "<= 3 else"),
    "a called name": ("min(ctx", "max(ctx"),
    "a key": ('ctx.set("tax"', 'ctx.set("taxes"'),
    "an order of statements": (
        "# What it costs.\n    price = min",
        "ctx = ctx.set('seen', True)\n    price = min",
    ),
    "what a factory closed over": ("discount(10)", "discount(11)"),
    "the code a factory makes": ("// 100)\n    return lower", "/ 100)\n    return lower"),
    "what a callable holds": ("Tax(0.19)", "Tax(0.2)"),
    "a method of a callable": ('return ctx["total"]', 'return ctx["total"] + 0'),
    "the object of a bound method": ("Tax(0.5)", "Tax(0.6)"),
    "an argument of a partial": ('"thanks"', '"thank you"'),
    "a default behind a partial": ('sign="-"', 'sign="+"'),
    "a lambda": ('ctx.set("way", "drive")', 'ctx.set("way", "ride")'),
    "a chunk of a stream": ('"two"', '"three"'),
    "a field of a schema": ("int(values", "float(values"),
    "a schema more": ("number: int\n", "number: int\n    name: str = ''\n"),
    "a timeout": ("timeout=3", "timeout=4"),
    "a retry policy": ("max_attempts=2", "max_attempts=3"),
    "a version by name": ('version="first"', 'version="second"'),
    "a renamed stage": ('name="tax"', 'name="vat"'),
    "a stage more": ("    pick,\n", "    named,\n    pick,\n"),
    "a stage less": ('    stage(name="tax")(Tax(0.19)),\n', ""),
    "two stages in another order": (
        '    stage(name="discount")(discount(10)),\n    stage(name="tax")(Tax(0.19)),\n',
        '    stage(name="tax")(Tax(0.19)),\n    stage(name="discount")(discount(10)),\n',
    ),
    "a route more": ('"far": [drive, named]}', '"far": [drive, named], "off": walk}'),
    "a branch in the background": (
        'name="fan")',
        'name="fan", mode=ForkMode.FIRE_FORGET)',
    ),
    "a plain stage instead of a nested pipeline's": (
        'Pipeline([stage(name="last")(Tax(0.5).net)])',
        'Pipeline([stage(name="last")(Tax(0.5))])',
    ),
}
KEEPING = {
    "a comment": ("# What it costs.", "# What it costs, in cents."),
    "a docstring": (
        "async def total(ctx):\n",
        'async def total(ctx):\n    """The sum."""\n',
    ),
    "lines in front": ('"""A shop."""\n', '"""A shop."""\n\n\n# It moved.\n\n'),
    "quotes and spaces": ('{"near": walk, "far"', "{'near' : walk,\n     'far'"),
    "parentheses and a line break": (
        'min(ctx["number"], 100) * 19',
        '(\n        min(ctx["number"], 100)\n        * 19\n    )',
    ),
    "code behind a named version": ('ctx.set("named", 1)', 'ctx.set("named", 2)'),
}

Load = Callable[[str], Any]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Import a source from a file of its own, as another release of the same module."""
    count = 0

    def load(source: str) -> Any:
        nonlocal count
        count += 1
        file = tmp_path / str(count) / f"{MODULE}.py"
        file.parent.mkdir()
        file.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(MODULE, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = module
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop(MODULE, None)


def edited(before: str, after: str) -> str:
    assert SOURCE.count(before) == 1
    return SOURCE.replace(before, after)


async def resumed_elsewhere(load: Load, source: str) -> tuple[bool, list[str]]:
    """Whether another release refused a run and said what changed, and what that release ran."""
    store = InMemoryStore()

    def pipeline(nodes: list[Any]) -> Pipeline:
        return Pipeline(nodes, name="shop", durable=True, checkpoint_store=store)

    with pytest.raises(ValueError, match="not yet"):
        await pipeline(load(SOURCE).NODES).invoke({"number": 2}, run_id="r")
    module = load(source)
    try:
        await pipeline(module.NODES).invoke({}, run_id="r", resume=True)
    except CheckpointVersionError as refused:
        return bool(refused.changes), module.ran
    except ValueError:
        return False, module.ran
    raise AssertionError("the gate was open")


@pytest.mark.parametrize("edit", CHANGING)
async def test_g09_a_run_of_other_code_is_refused_before_anything_runs(
    edit: str, load: Load, tally: Tally
) -> None:
    refused, ran = await resumed_elsewhere(load, edited(*CHANGING[edit]))
    tally.add("G9", "edits", 1, not refused or bool(ran))
    assert refused
    assert ran == []


@pytest.mark.parametrize("edit", KEEPING)
async def test_g09_a_run_goes_on_in_code_that_only_looks_different(
    edit: str, load: Load, tally: Tally
) -> None:
    refused, ran = await resumed_elsewhere(load, edited(*KEEPING[edit]))
    tally.add("G9", "edits", 1, refused)
    assert not refused
    assert ran == ["gate"]


def test_g09_the_edits_are_as_many_as_promised() -> None:
    assert len(CHANGING) >= 25
    assert len(KEEPING) >= 5


def test_g09_a_hundred_processes_agree_on_the_version(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
    # Without site-packages, for a hundred starts take a while.
    question = f"""
from {MODULE} import NODES
from fluxio.compiler.compilation import Source, compile_pipeline
source = Source(nodes=NODES, name="shop", middleware=(), auto_parallel=False)
print(compile_pipeline(source).version)
"""

    def ask(number: int) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            "PYTHONHASHSEED": str(number),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"),
        }
        done = subprocess.run(
            [sys.executable, "-S", "-c", question],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    first = ask(0)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(1, 100)))
    others = [answer for answer in answers if answer != first]
    tally.add("G9", "processes", 100, len(others))
    assert len(first) >= 12
    assert others == []
