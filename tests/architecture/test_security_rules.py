"""Every rule of security has a test: `pytest -m security` runs them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

RULES = {
    1: "an action asks for all its rights, for each object, whoever calls it",
    2: "each operation has a right of its own, and seeing a run shows no values",
    3: "being of the staff is no right, at any address",
    4: "only a POST with a token, confirmed on a page, changes anything, and only once",
    5: "a run that is not for somebody is answered like one that does not exist",
    6: "views are closed until settings open them",
    7: "run ids cannot be guessed, and knowing one is no right",
    8: "nothing that a run holds becomes markup; pages live with a strict policy, in dark mode too",
    9: "answers are kept by nobody, guessed at by nobody and framed by nobody",
    10: "an operation and its entry for the trail are written together or not at all",
    11: "history is never edited",
    12: "stored text never leads to an import or to code that is run",
    13: "rows belong to their place in their run, and without the key nothing opens",
    14: "no context is in messages or in a cache in the clear",
    15: "what is secret is masked in one place for every channel and everybody",
    16: "texts of errors are capped and masked, and refusals show no values",
    17: "nothing that is asked reaches a database as SQL",
    18: "input is bounded before it is parsed",
    19: "a page costs the same however many runs there are",
    20: "starts are counted for each user",
    21: "streams ask for rights again, and are bounded in number and time",
    22: "no connection is opened that was not configured",
    23: "only registered pipelines that are open are started by name",
    24: "a system check names each unsafe set-up",
}


def _marked(file: Path) -> Iterator[tuple[int, bool]]:
    """The rules that tests of a file hold, and whether the test is one of the long ones."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
        is_soak = any(
            "soak" in ast.unparse(each) for each in node.decorator_list if each not in calls
        )
        for call in calls:
            if ast.unparse(call.func) == "pytest.mark.security":
                assert node.name.startswith("test_"), node.name
                for rule in call.args:
                    yield ast.literal_eval(rule), is_soak


@pytest.fixture(scope="module")
def marked() -> list[tuple[int, bool]]:
    return [found for file in sorted(TESTS.rglob("test_*.py")) for found in _marked(file)]


@pytest.mark.parametrize("rule", RULES, ids=RULES.values())
def test_a_rule_has_a_test(rule: int, marked: list[tuple[int, bool]]) -> None:
    assert (rule, False) in marked


def test_no_test_is_for_a_rule_that_does_not_exist(marked: list[tuple[int, bool]]) -> None:
    assert {rule for rule, _is_soak in marked} <= set(RULES)
