"""A fingerprint is the same in every process, however and wherever the code was loaded."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[3]

VERSIONS = ["3.11", "3.12", "3.13"]

# All that the versions of Python write, store or name in different ways.
STAGES = dedent(
    '''
    """Stages that are fingerprinted in many processes."""
    from __future__ import annotations
    import abc, asyncio, contextlib, dataclasses, decimal, enum, functools, logging, operator
    import pathlib, re, threading, typing, uuid
    from datetime import datetime, timedelta, timezone

    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.Flag):
        LOW = 1
        HIGH = 2

    class Point(typing.NamedTuple):
        x: int
        y: int = 0

    class Row(typing.TypedDict, total=False):
        name: str

    @dataclasses.dataclass(slots=True, frozen=True)
    class Rule:
        name: str
        tags: frozenset = frozenset()
        limit: float = dataclasses.field(default=0.5, kw_only=True)

    class Port(typing.Protocol):
        def send(self, text: str) -> None: ...

    T = typing.TypeVar("T")

    class Schema(abc.ABC, typing.Generic[T]):
        """A schema."""
        kinds: typing.ClassVar = {"a", "b", "c"}
        @classmethod
        def model_validate(cls, value):
            "Validate."
            return value

    class Order(Schema["Order"]):
        __secret = 1
        def model_dump(self): return super().__str__() + str(self.__secret)

    class Callable:
        def __init__(self, rate, **options):
            self.rate, self.options, self.lock = rate, options, threading.Lock()
            self.calls = 0
        async def __call__(self, ctx):
            self.calls += 1
            return ctx
        def method(self, ctx): return self(ctx)

    def strings(ctx, width=3, *rest, sep: str = "-", **more):
        r"""Docs \\d."""
        a = f"{ctx!r:>{width}} {{x}} {ctx=} {ctx:%Y-%m-%d}" "tail" f"" f"{sep}" r"\\d"
        b = f"{'nested' + f'{width:{width}.{width}f}'}" + "\\N{BULLET}" + "é" + 'it"s' + f"{ctx,}"
        c = f"""
        {ctx
         !s} {lambda_(lambda: 1)} {ctx['key']:}"""
        return a, b, c, -1, +1.5e300, 2j, 0xffffffffffffffffffff, ..., None, True, b"\\x00"

    async def control(ctx, /, a, *, b=None):
        async with ctx as x, ctx as (y, z): pass
        async for i in ctx:
            if (n := len(i)) > 1: continue
            elif not n: break
        else:
            await ctx
        try:
            assert ctx, "text"
            del ctx.a, ctx["b"], (a, b)
        except* (ValueError, TypeError) as group:
            raise group from None
        finally:
            global G
            G = [i async for i in ctx if i for j in i]
        match ctx:
            case {"a": [1, *_, -1.5], **rest} if rest: yield rest
            case Point(x=0, y=None) | Point(1, []): return
            case str() | b"x" | None as last: yield last
            case Colour.RED: yield
        first, *others = {**ctx, "k": {1, *ctx}, None: ctx[1:2, ::3, *others]}
        return

    def generator(ctx):
        result = yield from ctx
        @functools.cache
        def inner(x: "int | None" = None) -> list[int]: return [x @ x // 1 << 2 ** ~x]
        class Local(Schema[int], metaclass=abc.ABCMeta):
            """Docs."""
            x: int = 1
        nonlocal_ = lambda *a, k=1, **kw: (a, k, kw) if a else not kw
        return result, inner, Local, nonlocal_

    @contextlib.contextmanager
    def managed(ctx): yield ctx

    @functools.lru_cache(maxsize=None)
    def memoised(ctx): return ctx

    @functools.singledispatch
    def dispatched(ctx): return ctx

    def factory(*values, **named):
        count = 0
        def stage(ctx):
            nonlocal count
            count += 1
            return values, named, stage
        return stage

    several = [lambda: 1, lambda: 2, lambda x=lambda: 3: x]

    def closing(x, y): return [lambda: x, lambda: y, lambda: x + 1, lambda z=lambda: y: (x, z)]

    TARGETS = {
        "strings": strings, "control": control, "generator": generator, "managed": managed,
        "memoised": memoised, "dispatched": dispatched,
        "sets": factory({"a", "b", "c", ("d", frozenset({"e", "f"}))}, frozenset({Colour.RED})),
        "dicts": factory({Point(1): "p", Colour.RED: "c", None: 1, 2.5: Level.LOW | Level.HIGH}),
        "paths": factory(pathlib.Path("a/b"), pathlib.PurePath("c"), uuid.UUID(int=1)),
        "times": factory(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        "numbers": factory(decimal.Decimal("1.0"), 0.1, -0.0, float("nan"), 1j, 10**5000),
        "objects": factory(Rule("r", frozenset({"x", "y", "z"})), Point(1, 2), Callable(1)),
        "opaque": factory(logging.getLogger("x"), threading.Lock(), threading.Event(), object()),
        "types": factory(list[int], int | None, typing.Optional[Rule], Row, Port, T, typing.Any),
        "library": factory(re.compile("a+", re.I), operator.itemgetter(1), re, ValueError("x")),
        "functions": factory(len, str.upper, re.compile, asyncio.sleep, json := None, strings),
        "callable": Callable(2.5, names={"b", "a"}), "method": Callable(1).method,
        "partial": functools.partial(strings, 1, sep={"x", "y"}), "class": Order,
        "classmethod": Order.model_validate, "builtin": len, "getter": operator.attrgetter("a.b"),
        "closing": closing(1, 2), "lambda 3": closing(1, 1)[0], "lambda 4": closing(1, 1)[1],
        "lambda 0": several[0], "lambda 1": several[1], "lambda 2": several[2],
    }
    '''
)

WITHOUT_SOURCE = """
exec("def plain(ctx, a=1):\\n try: return [x for x in ctx if x in {1, 2}]\\n finally: f(a)")
TARGETS["exec"] = plain
"""

ASK = """
import json, sys
from fluxio.compiler.fingerprint import code_fingerprint

def answer(targets):
    print(json.dumps({name: code_fingerprint(target) for name, target in targets.items()}))
"""

IMPORTED = f"{ASK}\nfrom stages import TARGETS\nanswer(TARGETS)"


@cache
def interpreter(version: str) -> str | None:
    """A working Python of this version, from the path or from pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python")]
    if version == "{}.{}".format(*sys.version_info):
        candidates.insert(0, sys.executable)
    for candidate in filter(None, candidates):
        # A name on the path may be a shim for a version that is not installed.
        said = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
        if said.stdout.strip() == version:
            return str(candidate)
    return None


def ask(
    *command: str, folder: Path, seed: str = "random", python: str = sys.executable
) -> dict[str, str]:
    """Run Python with this command line in `folder`, and read the fingerprints it prints."""
    said = subprocess.run(
        [python, *command],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "PYTHONHASHSEED": seed,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert said.returncode == 0, said.stderr
    answer: dict[str, str] = json.loads(said.stdout)
    return answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the stages in it."""
    (tmp_path / "stages.py").write_text(STAGES, encoding="utf-8")
    return tmp_path


@pytest.fixture
def expected(folder: Path) -> dict[str, str]:
    """What an ordinary process says."""
    answer = ask("-c", IMPORTED, folder=folder, seed="0")
    assert len(set(answer.values())) == len(answer)
    return answer


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_and_hash_seed_gives_the_same_fingerprints(
    version: str, folder: Path, expected: dict[str, str]
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    for seed in "1", "2":
        assert ask("-c", IMPORTED, folder=folder, seed=seed, python=python) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_the_command_line_is_not_taken_for_the_source_of_other_code(
    version: str, tmp_path: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    program = "def stage(ctx): return 1\nscope = {}\nexec('def stage(ctx): return 2', scope)\n"
    program += ASK + "\nanswer({'written': stage, 'executed': scope['stage']})"
    answer = ask("-c", program, folder=tmp_path, python=python)
    assert answer["written"] != answer["executed"]


def test_fingerprints_outlive_a_release(tmp_path: Path) -> None:
    # Runs are resumed after an upgrade of fluxio. If this fails, every open run is refused.
    (tmp_path / "stages.py").write_text(
        "def make(rate):\n"
        "    def stage(ctx, limit=2.5):\n"
        "        return ctx.set('total', f'{ctx[\"total\"] * rate:.2f}')\n"
        "    return stage\n"
        "class Stage:\n"
        "    names = ('a', 'b')\n"
        "    def __init__(self, options): self.options = options\n"
        "    def __call__(self, ctx): return ctx\n"
        "TARGETS = {'function': make(3), 'callable': Stage({'a': [1, {2}], 'b': None})}\n"
    )
    assert ask("-c", IMPORTED, folder=tmp_path) == {
        "function": "4bcc213337d4150be803ea3cc599d5e214b3111596840755c70087f60520191c",
        "callable": "fd4b50abc4b7e76c7f3d04a00f8b1540eab6513ef6254ba4f1feaadc3fe51921",
    }


def test_fingerprints_do_not_depend_on_the_folder(folder: Path, expected: dict[str, str]) -> None:
    other = folder / "another machine"
    other.mkdir()
    shutil.move(folder / "stages.py", other / "stages.py")
    assert ask("-c", IMPORTED, folder=other) == expected


@pytest.mark.parametrize("option", ["-O", "-OO", "-I", "-Werror", "-Xno_debug_ranges"])
def test_options_of_the_interpreter_change_nothing(
    option: str, folder: Path, expected: dict[str, str]
) -> None:
    path = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n"
    assert ask(option, "-c", path + IMPORTED, folder=folder) == expected


def test_a_module_that_is_called_like_one_of_python_is_not_taken_for_it(
    folder: Path, expected: dict[str, str]
) -> None:
    shutil.move(folder / "stages.py", folder / "profile.py")
    answer = ask("-c", IMPORTED.replace("from stages", "from profile"), folder=folder)
    functions = ["strings", "control", "generator", "managed", "memoised", "lambda 1", "class"]
    assert {name: answer[name] for name in functions} == {
        name: expected[name] for name in functions
    }


def test_a_script_has_the_fingerprints_of_the_module_it_is(
    folder: Path, expected: dict[str, str]
) -> None:
    with (folder / "stages.py").open("a") as file:
        file.write(f"\nif __name__ == '__main__':{ASK.replace(chr(10), chr(10) + '    ')}\n")
        file.write("    answer(TARGETS)\n")
    assert ask("stages.py", folder=folder) == expected
    package = folder / "package"
    package.mkdir()
    shutil.move(folder / "stages.py", package / "stages.py")
    imported = IMPORTED.replace("from stages", "from package.stages")
    assert ask("-m", "package.stages", folder=folder) == ask("-c", imported, folder=folder)


def test_a_spawned_child_has_the_fingerprints_of_its_parent(
    folder: Path, expected: dict[str, str]
) -> None:
    with (folder / "stages.py").open("a") as file:
        file.write(f"{ASK}\ndef child(): answer(TARGETS)\n")
        file.write("if __name__ == '__main__':\n    import multiprocessing\n")
        file.write("    process = multiprocessing.get_context('spawn').Process(target=child)\n")
        file.write("    process.start()\n    process.join()\n")
    assert ask("stages.py", folder=folder) == expected


def test_code_in_an_archive_has_the_fingerprints_of_its_source(
    folder: Path, expected: dict[str, str]
) -> None:
    with zipfile.ZipFile(folder / "stages.zip", "w") as archive:
        archive.write(folder / "stages.py", "stages.py")
    (folder / "stages.py").unlink()
    path = "import sys; sys.path.insert(0, 'stages.zip')\n"
    assert ask("-c", path + IMPORTED, folder=folder) == expected


def test_compiled_code_without_source_agrees_with_itself(
    folder: Path, expected: dict[str, str]
) -> None:
    with (folder / "stages.py").open("a") as file:
        file.write(WITHOUT_SOURCE)
    compileall.compile_dir(folder, legacy=True, quiet=1)
    (folder / "stages.py").unlink()
    first, second = (ask("-c", IMPORTED, folder=folder, seed=seed) for seed in "12")
    assert first == second
    assert first["strings"] != expected["strings"]
    assert first["builtin"] == expected["builtin"]
    assert len(set(first.values())) == len(first)


@pytest.mark.soak
def test_a_hundred_processes_give_the_same_fingerprints(
    folder: Path, expected: dict[str, str]
) -> None:
    for _ in range(100):
        assert ask("-c", IMPORTED, folder=folder) == expected
