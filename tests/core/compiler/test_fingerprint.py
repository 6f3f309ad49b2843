"""What changes the fingerprint of code, and what does not: edits of real files, one by one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fluxio.compiler.fingerprint import code_fingerprint, value_fingerprint

MODULE = "stages_under_test"

Load = Callable[[str], Any]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Write a source to a file of its own, import it, and give what it calls `target`."""
    count = 0

    def load(source: str) -> Any:
        nonlocal count
        count += 1
        file = tmp_path / str(count) / f"{MODULE}.py"
        file.parent.mkdir()
        file.write_text(dedent(source), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(MODULE, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = module
        spec.loader.exec_module(module)
        return module.target

    yield load
    sys.modules.pop(MODULE, None)


# --- edits that must change it: a source, what stands there before, and what stands there after ---

WRAPPED = """
    import functools
    def twice(f):
        @functools.wraps(f)
        def wrapper(ctx): return f(f(ctx))
        return wrapper
    @twice
    def target(ctx): return 1
    """

CALLABLE = """
    import threading
    class Base:
        def helper(self): return "from base"
    class Stage(Base):
        __slots__ = ("__hidden",)
        def __init__(self, rate):
            self.rate = rate
            self.__hidden = "hidden"
            self.lock = threading.Lock()
        def limit(self, number): self.number = number
        def __call__(self, ctx): return "called"
    target = Stage("given")
    target.limit("limited")
    """

METHOD = """
    class Base:
        @classmethod
        def build(cls, ctx): return cls.size
    class Stage(Base):
        size = "size"
        def __init__(self, rate): self.rate = rate
        def run(self, ctx): return self.helper("run")
        def helper(self): return "helper"
        @staticmethod
        def alone(ctx): return "alone"
    target = Stage("given").run
    """

FACTORY = """
    import math, cmath
    class Thing:
        size = "size"
    def make(value):
        def stage(ctx): return value
        return stage
    target = make({"a": [1, (2, {3: Thing})], "f": lambda x: "inner", "m": math})
    """

CLASS_FACTORY = """
    def make(value, other):
        class Stage:
            unset: "annotation"
            rate = value
            def __call__(self, ctx): return other
        return Stage()
    target = make("value", "other")
    """

PARTIAL = """
    from functools import partial
    def stage(first, ctx, last): return "body"
    target = partial(stage, "first", last="last")
    """

LIBRARY = """
    import contextlib, functools
    @functools.lru_cache(maxsize=8)
    @contextlib.contextmanager
    def target(ctx): yield "body"
    """

BRANCH = """
    def target(ctx):
        if ctx:
            ctx.a()
        ctx.b()
    """

TRY = """
    def target(ctx):
        try:
            ctx()
        except KeyError:
            pass
    """

NESTED = """
    def target(ctx):
        @ctx.first
        def inner(): return "inner"
        return inner
    """

CHANGES = {
    "a constant": ("def target(ctx): return 1", "1", "2"),
    "the type of a constant": ("def target(ctx): return 1", "1", "1.0"),
    "text for a number": ("def target(ctx): return 1", "1", "'1'"),
    "a bool for an int": ("def target(ctx): return 1", "1", "True"),
    "the sign of zero": ("def target(ctx): return 0.0", "0.0", "-0.0"),
    "bytes for text": ("def target(ctx): return 'a'", "'a'", "b'a'"),
    "a huge constant": (f"def target(ctx): return 0x{'1' * 5000}2", "12", "13"),
    "an operator": ("def target(ctx): return ctx + 1", "+", "-"),
    "a comparison": ("def target(ctx): return ctx < 1", "<", "<="),
    "a called name": ("def target(ctx): return min(ctx)", "min", "max"),
    "an attribute": ("def target(ctx): return ctx.a", ".a", ".b"),
    "a keyword": ("def target(ctx): return int(ctx, 8)", "8", "base=8"),
    "an unpacked dict": ("def target(ctx): return {None: ctx}", "None: ", "**"),
    "the name of a parameter": ("def target(ctx): return 1", "ctx", "context"),
    "the kind of a parameter": ("def target(a, ctx): return 1", "a, ", "a, /, "),
    "the name of a function": ("def stage(ctx): ...\ntarget = stage", "stage", "step"),
    "an annotation": ("def target(ctx: int): ...", "int", "str"),
    "a format": ("def target(ctx): return f'{ctx:>3}'", ">3", ">4"),
    "a conversion": ("def target(ctx): return f'{ctx!r}'", "!r", "!s"),
    "the place of a placeholder": ("def target(ctx): return f'a{ctx}'", "a{ctx}", "{ctx}a"),
    "async": ("def target(ctx): return ctx", "def", "async def"),
    "a generator": ("async def target(ctx): return 1", "return", "yield"),
    "the order of statements": (BRANCH, "b()", "a()"),
    "a statement left out": (BRANCH, "    ctx.b()", ""),
    "a statement moved into a branch": (BRANCH, "    ctx.b()", "        ctx.b()"),
    "a loop for a branch": (BRANCH, "if", "while"),
    "an exception that is caught": (TRY, "KeyError", "LookupError"),
    "an exception group": (TRY, "except", "except*"),
    "what happens after an exception": (TRY, "pass", "raise"),
    "a pattern": ("def target(ctx):\n match ctx:\n  case None: pass", "None", "True"),
    "a nested function": (NESTED, '"inner"', '"other"'),
    "the decorator of a nested function": (NESTED, "@ctx.first", "@ctx.second"),
    "text that is no docstring": ("def target(ctx):\n ctx()\n 'a'", "'a'", "'b'"),
    "the value of a default": ("N = 1\ndef target(ctx, n=N): ...", "1", "2"),
    "the value of a keyword default": ("N = 1\ndef target(ctx, *, n=N): ...", "1", "2"),
    "a closure value": (FACTORY, '"a": [1', '"a": [2'),
    "a closure value deep inside": (FACTORY, "{3: Thing}", "{4: Thing}"),
    "a tuple for a list in a closure": (FACTORY, "(2, {3: Thing})", "[2, {3: Thing}]"),
    "a function in a closure": (FACTORY, '"inner"', '"other"'),
    "a module in a closure": (FACTORY, '"m": math', '"m": cmath'),
    "a class in a closure": (FACTORY, 'size = "size"', 'size = "other"'),
    "a class attribute set by a factory": (CLASS_FACTORY, '"value"', '"another"'),
    "an annotation in a class that a factory makes": (CLASS_FACTORY, '"annotation"', '"another"'),
    "a method that closes over a value": (CLASS_FACTORY, '"other"', '"another"'),
    "a positional argument of a partial": (PARTIAL, '"first"', '"other"'),
    "a keyword argument of a partial": (PARTIAL, '"last"', '"other"'),
    "the function of a partial": (PARTIAL, '"body"', '"other"'),
    "a lambda": ("target = lambda ctx: 1", "1", "2"),
    "the second lambda of a line": (
        "both = [lambda c: 0, lambda c: 5]; target = both[1]",
        "5",
        "6",
    ),
    "a function that is wrapped": (WRAPPED, "return 1", "return 2"),
    "the function that wraps it": (WRAPPED, "f(f(ctx))", "f(ctx)"),
    "a function that is only said to be wrapped": (
        """
        import functools
        def inner(ctx): return 1
        @functools.wraps(inner)
        def target(ctx): return inner(ctx)
        """,
        "1",
        "2",
    ),
    "a function behind a proxy written in C": (
        """
        import functools, weakref
        class Proxy(weakref.ref): ...
        def inner(ctx): return 1
        target = functools.update_wrapper(Proxy(inner), inner)
        """,
        "1",
        "2",
    ),
    "a function behind the standard library": (LIBRARY, '"body"', '"other"'),
    "an option of a memory": (LIBRARY, "maxsize=8", "maxsize=9"),
    "the method of a callable": (CALLABLE, '"called"', '"other"'),
    "the state of a callable": (CALLABLE, '"given"', '"other"'),
    "a private slot of a callable": (CALLABLE, '"hidden"', '"other"'),
    "what a setter set before": (CALLABLE, '"limited"', '"other"'),
    "the base of a callable's class": (CALLABLE, '"from base"', '"other"'),
    "a bound method": (METHOD, '"run"', '"other"'),
    "another method of its object": (METHOD, '"helper"', '"other"'),
    "the object of a bound method": (METHOD, '"given"', '"other"'),
    "the class of a class method": (
        METHOD.replace('Stage("given").run', "Stage.build"),
        'size = "size"',
        'size = "other"',
    ),
    "a static method": (METHOD.replace('Stage("given").run', "Stage.alone"), '"alone"', '"other"'),
    "a static method alone": ("target = staticmethod(lambda ctx: 1)", "1", "2"),
    "code behind a callable list": (
        "class A(list):\n def __call__(self, ctx): return 1\ntarget = A([0])",
        "return 1",
        "return 2",
    ),
    "the items of a callable list": (
        "class A(list):\n def __call__(self, ctx): return 1\ntarget = A([0])",
        "[0]",
        "[2]",
    ),
    "an operator without source": ("exec('def target(ctx): return ctx + 1')", "+", "-"),
    "a constant without source": ("exec('def target(ctx): return 1')", "1", "1.0"),
    "a default without source": ("exec('def target(ctx, n=1): return n')", "1", "2"),
    "a branch without source": (
        "exec('def target(ctx):\\n if ctx: f()\\n else: g()\\n h()')",
        "g()\\n h()",
        "g(); h()",
    ),
    "a handler without source": (
        "exec('def target(ctx):\\n try: f()\\n except KeyError: g()\\n h()')",
        "\\n h()",
        "\\n else: h()",
    ),
    "the target of a jump without source": (
        "exec('def target(c):\\n if c:\\n  f()\\n if g(): h()\\n i()')",
        "\\n if g(): h()",
        "\\n\\n  if g(): h()",
    ),
    "what is tried without source": (
        "exec('def target(c):\\n f()\\n try:\\n  g()\\n except E: h()')",
        "f()\\n try:",
        "try:\\n  f()",
    ),
    "a nested function without source": ("exec('def target(c): return lambda: 1')", "1", "2"),
    "a class without source": ("target = type('A', (), {'__call__': lambda *_: 1})()", "1", "2"),
}


@pytest.mark.parametrize("edit", CHANGES)
def test_an_edit_of_the_code_changes_its_fingerprint(edit: str, load: Load) -> None:
    source, before, after = CHANGES[edit]
    assert before in source
    first = code_fingerprint(load(source))
    assert code_fingerprint(load(source)) == first
    assert code_fingerprint(load(source.replace(before, after))) != first


# --- edits that must not -------------------------------------------------------------------------

KEPT = {
    "comments": (
        """
        def target(ctx):
            return 1
        """,
        """
        # about it
        def target(ctx):  # here
            # and there
            return 1  # 2
        # done
        """,
    ),
    "a docstring added": (
        """
        def target(ctx):
            return 1
        """,
        """
        def target(ctx):
            'Say one.'
            return 1
        """,
    ),
    "a docstring changed": (
        """
        def target(ctx):
            'Say one.'
            return 1
        """,
        """
        def target(ctx):
            '''Say one.

            For ever.
            '''
            return 1
        """,
    ),
    "a docstring instead of pass": (
        """
        def target(ctx): pass
        """,
        """
        def target(ctx):
            'Nothing yet.'
        """,
    ),
    "the docstring of a nested function": (
        """
        def target(ctx):
            def inner(): return 1
            return inner
        """,
        """
        def target(ctx):
            def inner():
                'One.'
                return 1
            return inner
        """,
    ),
    "the docstrings of a class and its methods": (
        """
        class Stage:
            def __call__(self, ctx): return 1
        target = Stage()
        """,
        """
        class Stage:
            'A stage.'
            def __call__(self, ctx):
                'Call it.'
                return 1
        target = Stage()
        """,
    ),
    "blank lines, a shift, and code around it": (
        """
        def target(ctx):
            a = 1
            return a
        """,
        """
        import os
        OTHERS = [lambda ctx: 2, lambda ctx: 3]
        def other(ctx): return 2


        def target(ctx):

            a = 1


            return a
        def last(ctx): return 3
        """,
    ),
    "indentation": (
        """
        def target(ctx):
            if ctx:
                return 1
        """,
        """
        if True:
          def target(ctx):
           if ctx:
                       return 1
        """,
    ),
    "line breaks and parentheses": (
        """
        def target(ctx): return min(ctx, key=len) + 1
        """,
        """
        def target(
            ctx,
        ):
            return (
                min(
                    ctx,
                    key=len,
                )
                + (1)
            )
        """,
    ),
    "quotes and prefixes": (
        """
        def target(ctx): return 'a' + u'b' + r'c' + '\\x64'
        """,
        """
        def target(ctx): return "a" + '''b''' + "c" + "d"
        """,
    ),
    "the way text is cut into literals": (
        """
        def target(ctx): return 'abc' + f'd{ctx}ef'
        """,
        """
        def target(ctx): return 'a' 'bc' + 'd' f'{ctx}' f'e' 'f'
        """,
    ),
    "the notation of numbers": (
        """
        def target(ctx): return 1000000 + 16 + 0.5 + 1e3
        """,
        """
        def target(ctx): return 1_000_000 + 0x10 + .5 + 1000.
        """,
    ),
    "parentheses after del": (
        """
        def target(a, b): del a, b
        """,
        """
        def target(a, b): del (a, b)
        """,
    ),
    "a decorator that only registers": (
        """
        def register(f): return f
        def target(ctx): return 1
        """,
        """
        def register(f): return f
        @register
        def target(ctx): return 1
        """,
    ),
    "a global that is only mentioned": (
        """
        RATE = 1
        def target(ctx): return RATE
        """,
        """
        RATE = 2
        def target(ctx): return RATE
        """,
    ),
    "the order of a set in a closure": (
        """
        def make(names): return lambda ctx: names
        target = make({"a", "b", "c"})
        """,
        """
        def make(names): return lambda ctx: names
        target = make({"c", "b", "a"})
        """,
    ),
    "another member of an enum": (
        """
        import enum
        def make(colour): return lambda ctx: colour
        class Colour(enum.StrEnum):
            RED = "red"
        target = make(Colour.RED)
        """,
        """
        import enum
        def make(colour): return lambda ctx: colour
        class Colour(enum.StrEnum):
            GREEN = "green"
            RED = "red"
        target = make(Colour.RED)
        """,
    ),
    "the docstring of a class that a function makes": (
        """
        def make():
            class Stage:
                def __call__(self, ctx): return 1
            return Stage()
        target = make()
        """,
        """
        def make():
            class Stage:
                'A stage.'
                def __call__(self, ctx): return 1
            return Stage()
        target = make()
        """,
    ),
    "the order of keywords": (
        """
        from functools import partial
        def stage(ctx, a, b): ...
        target = partial(stage, a=1, b=2)
        """,
        """
        from functools import partial
        def stage(ctx, a, b): ...
        target = partial(stage, b=2, a=1)
        """,
    ),
    "comments and docstrings without source": (
        """
        exec("def target(ctx): return f(ctx, 1) or 2")
        """,
        """
        exec("#\\ndef target(ctx):\\n 'one'\\n #\\n return f(ctx, 1) or 2")
        """,
    ),
    "the numbering of constants without source": (
        """
        many = "; ".join(f"f('{number}')" for number in range(300))
        exec(f"def target(ctx): {many}")
        """,
        """
        many = "; ".join(f"f('{number}')" for number in range(300))
        exec(f"def target(ctx):\\n 'Docs.'\\n {many}")
        """,
    ),
}


@pytest.mark.parametrize("edit", KEPT)
def test_an_edit_around_the_code_keeps_its_fingerprint(edit: str, load: Load) -> None:
    before, after = KEPT[edit]
    assert code_fingerprint(load(before)) == code_fingerprint(load(after))


def test_the_edits_are_as_many_as_the_guarantee_asks_for() -> None:
    assert len(CHANGES) >= 25
    assert len(KEPT) >= 5


MESSY = """
    import functools

    def wrap(f):
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            return f(*args, **kwargs)
        return wrapper

    @wrap
    async def target(ctx, limit = 0x10, *, names=('a', 'b',)):
        items = [ (x*2) for x in ctx if (x) ]
        text = 'it''s ' f'{items!r:>{limit}}' " left"
        del (items, ctx)
        with (open('a')) as a, open("b") as b: pass
        for (x, y) in {1: 2}.items(): print((x), y)
        yield (lambda z: (z + 1))(1) if (not limit) else text[(1):(2)]
        match x, y:
            case (1, [2, *_]) : return
            case {"k": None, **rest} if (rest): return
    """


def test_formatting_a_file_keeps_the_fingerprints_in_it(load: Load, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    file = tmp_path / "messy.py"
    file.write_text(dedent(MESSY))
    subprocess.run([sys.executable, "-m", "ruff", "format", "--isolated", str(file)], check=True)
    assert file.read_text() != dedent(MESSY)
    assert code_fingerprint(load(MESSY)) == code_fingerprint(load(file.read_text()))


# --- telling neighbours apart --------------------------------------------------------------------


def test_all_lambdas_of_a_line_have_fingerprints_of_their_own() -> None:
    # fmt: off
    several = [lambda: 1, lambda: 2, lambda: (3, lambda: 4)[1], (lambda: lambda: 5)(), lambda é="é": é, lambda: (yield)]  # noqa: E501
    # fmt: on
    innermost = [*several, several[2]()]
    assert len({code_fingerprint(function) for function in innermost}) == 7


def test_the_same_lambda_written_twice_has_one_fingerprint() -> None:
    first, second = (lambda ctx: ctx + 1), (lambda ctx: ctx + 1)
    assert code_fingerprint(first) == code_fingerprint(second)


def test_a_lambda_has_the_same_fingerprint_alone_and_among_others() -> None:
    # fmt: off
    among = [lambda ctx: 1, lambda ctx: ctx.a, lambda ctx: (lambda: ctx.b)(), lambda x=1: [x]]
    # fmt: on
    one = lambda ctx: 1  # noqa: E731
    a = lambda ctx: ctx.a  # noqa: E731
    b = lambda ctx: (lambda: ctx.b)()  # noqa: E731
    default = lambda x=1: [x]  # noqa: E731
    alone = [one, a, b, default]
    assert [*map(code_fingerprint, among)] == [*map(code_fingerprint, alone)]


def test_lambdas_in_a_statement_over_several_lines_are_found() -> None:
    table = {
        "a": lambda ctx: ctx.get(
            "a",
        ),
        "b": lambda ctx: ctx.get("b"),
    }
    assert code_fingerprint(table["a"]) == code_fingerprint(lambda ctx: ctx.get("a"))
    assert code_fingerprint(table["b"]) == code_fingerprint(lambda ctx: ctx.get("b"))


def test_functions_from_one_factory_differ_by_what_they_closed_over(load: Load) -> None:
    make = load(
        """
        def target(rate, *steps):
            async def stage(ctx):
                for step in steps:
                    ctx = step(ctx, rate)
                return ctx
            return stage
        """
    )
    made = [make(1), make(1.0), make(True), make(1, len), make(1, max), make(1, make(1))]
    assert len({code_fingerprint(function) for function in made}) == len(made)
    assert code_fingerprint(make(1, len)) == code_fingerprint(make(1, len))


def test_classes_of_one_name_are_told_apart_by_their_methods(load: Load) -> None:
    source = """
        if "@" == "1":
            class Stage:
                def __call__(self, ctx): return 1
        else:
            class Stage:
                def __call__(self, ctx): return 2
        target = Stage()
        """
    first, second = (code_fingerprint(load(source.replace("@", choice))) for choice in "12")
    assert first != second


def test_a_file_that_was_edited_after_its_import_is_not_trusted(load: Load) -> None:
    function = load("def target(ctx):\n    a = 1\n    b = 2\n    return a + b")
    imported = code_fingerprint(function)
    file = Path(function.__code__.co_filename)
    file.write_text("def target(ctx, more):\n    return 7\n")
    edited = code_fingerprint(function)
    assert edited not in (imported, code_fingerprint(load(file.read_text())))


def test_a_warning_about_the_source_is_none_about_its_fingerprint(load: Load) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sloppy = load("def target(ctx): return '\\d'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fingerprint = code_fingerprint(sloppy)
    assert fingerprint == code_fingerprint(load("def target(ctx): return '\\\\d'"))


# --- schemas -------------------------------------------------------------------------------------

SCHEMA = """
    from pydantic import BaseModel, Field
    class Base(BaseModel):
        model_config = {"extra": "ignore"}
    class Line(BaseModel):
        price: int
    class target(Base):
        total: int = Field(gt=0)
        lines: list[Line] = []
    """

SCHEMA_CHANGES = {
    "a field's name": ("total:", "sum:"),
    "a field's type": ("total: int", "total: float"),
    "a constraint": ("gt=0", "gt=1"),
    "a default": ("= []", "= [Line(price=1)]"),
    "a base class": ('"ignore"', '"forbid"'),
    "a nested model": ("price: int", "price: float"),
}


@pytest.mark.parametrize("edit", SCHEMA_CHANGES)
def test_an_edit_of_a_schema_changes_its_fingerprint(edit: str, load: Load) -> None:
    pytest.importorskip("pydantic")
    before, after = SCHEMA_CHANGES[edit]
    assert before in SCHEMA
    first = value_fingerprint(load(SCHEMA))
    assert value_fingerprint(load(SCHEMA.replace(before, after))) != first


def test_a_comment_or_docstring_keeps_the_fingerprint_of_a_schema(load: Load) -> None:
    pytest.importorskip("pydantic")
    told = SCHEMA.replace("price: int", "'A line.'\n        price: int  # in cents")
    assert value_fingerprint(load(SCHEMA)) == value_fingerprint(load(told))


def test_schemas_made_at_run_time_differ_by_their_fields() -> None:
    pydantic = pytest.importorskip("pydantic")

    def made(**fields: Any) -> str:
        return value_fingerprint(pydantic.create_model("Made", **fields))

    limit = pydantic.Field(gt=1)
    variants = [{"a": (int, 1)}, {"a": (int, 2)}, {"a": (str, "")}, {"a": (int, limit)}, {}]
    assert len({made(**fields) for fields in variants}) == len(variants)
    assert made(a=(int, 1)) == made(a=(int, 1))


def test_a_generic_schema_differs_by_its_parameters(load: Load) -> None:
    pytest.importorskip("pydantic")
    page = load(
        """
        from typing import Generic, TypeVar
        from pydantic import BaseModel
        T = TypeVar("T")
        class target(BaseModel, Generic[T]):
            items: list[T]
        """
    )
    assert value_fingerprint(page[int]) != value_fingerprint(page[str])
    assert value_fingerprint(page[int]) == value_fingerprint(page[int])


def test_a_schema_without_pydantic_counts_by_its_source(load: Load) -> None:
    source = """
        class target:
            @classmethod
            def model_validate(cls, value):
                assert value["n"] > {}
        """
    first = value_fingerprint(load(source.format(1)))
    assert value_fingerprint(load(source.format(2))) != first
    assert value_fingerprint(load(source.format(1))) == first
