"""fluxio_list and fluxio_explain: what is registered, and what it was compiled to."""

from __future__ import annotations

import json
from typing import Any

from fluxio import Parallel
from fluxio_django import pipelines
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import choose, count, note, price


def test_pipelines_are_listed_by_name(shell: Shell, registered: Register) -> None:
    registered("shop.b", [price, count])
    registered("shop.a", [price], durable=False)
    lines = [line.split() for line in shell("fluxio_list").splitlines()]
    ours = [line for line in lines if line[0].startswith("shop.")]
    assert ours == [
        ["shop.a", pipelines["shop.a"].version, "1", "no"],
        ["shop.b", pipelines["shop.b"].version, "2", "yes"],
    ]


def test_a_broken_factory_does_not_hide_the_others(shell: Shell, registered: Register) -> None:
    def broken() -> Any:
        raise ImportError("no module named stripe")

    registered("shop.a", [price])
    pipelines.add("shop.broken", broken)
    try:
        found = [json.loads(line) for line in shell("fluxio_list", "--json").splitlines()]
        assert "ImportError: no module named stripe" in shell("fluxio_list")
    finally:
        pipelines.remove("shop.broken")
    problems = {facts["name"]: facts["problem"] for facts in found}
    assert problems["shop.broken"] == "ImportError: no module named stripe"
    assert problems["shop.a"] is None


def test_a_pipeline_is_explained_as_an_outline(shell: Shell, registered: Register) -> None:
    nodes = [count, choose, {"big": [price], "small": [Parallel([note], name="fan")]}]
    registered("shop", nodes)
    out = shell("fluxio_explain", "shop")
    for part in ("pipeline shop", "CALL  count", "route 'small'", "FORK  choose/small/fan"):
        assert part in out


def test_a_pipeline_is_explained_as_a_chart(shell: Shell, registered: Register) -> None:
    registered("shop", [price])
    assert shell("fluxio_explain", "shop", "--mermaid").startswith("flowchart TD\n")


def test_an_explanation_is_one_json_object(shell: Shell, registered: Register) -> None:
    registered("shop", [price, count])
    facts = shell.json("fluxio_explain", "shop")
    assert (facts["name"], facts["steps"]) == ("shop", ["price", "count"])
    assert [row[0] for row in facts["manifest"]][:2] == ["price", "count"]
    assert facts["mermaid"].startswith("flowchart TD")


def test_an_unknown_pipeline_is_refused(shell: Shell) -> None:
    assert "No pipeline 'shop' is registered" in shell.refused("fluxio_explain", "shop")
