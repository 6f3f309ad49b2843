"""Whatever a stored text says, decoding it gives values or one kind of error, and does nothing."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxio.codec import DEFAULT_CODEC, Codec, Limits, isolated_types, register_type
from fluxio.codec.decoding import READERS, depth_of
from fluxio.codec.scalars import _is_known
from fluxio.errors import DecodingError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _own_types() -> Iterator[None]:
    with isolated_types():
        yield


def refusal(text: str) -> DecodingError:
    with pytest.raises(DecodingError) as caught:
        DEFAULT_CODEC.decode(text)
    assert len(str(caught.value)) < 1_000
    return caught.value


def test_an_unregistered_type_is_named_with_its_path_and_the_remedy() -> None:
    error = refusal('{"order":{"lines":[1,{"$:shop.Money":1}]}}')
    assert error.path == 'ctx["order"]["lines"][1]'
    assert "unknown type 'shop.Money'" in str(error)
    assert "register_type(..., name='shop.Money')" in str(error)


def test_an_unknown_tag_is_named_with_its_path_and_the_remedy() -> None:
    error = refusal('{"a":{"$hologram":1}}')
    assert error.path == 'ctx["a"]'
    assert "unknown tag '$hologram'" in str(error)
    assert "upgrade fluxio" in str(error)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a":{"$tuple":[1,{"$x":1}]}}', 'ctx["a"][1]'),
        ('{"a":{"$set":[1,{"$x":1}]}}', 'ctx["a"][1]'),
        ('{"a":{"$frozenset":[1,{"$x":1}]}}', 'ctx["a"][1]'),
        ('{"a":{"$secret":[{"$x":1}]}}', 'ctx["a"].reveal()[0]'),
        ('{"$$a":{"$x":1}}', 'ctx["$a"]'),
        ('{"a":{"$dict":[[{"$x":1},2]]}}', 'ctx["a"]<dict>[0][0]'),
        ('{"a":{"$tuple":[1],"b":2}}', 'ctx["a"]'),
        ('{"a":{"b":2,"$tuple":[1]}}', 'ctx["a"]'),
        ('{"a":{"$set":[1,1]}}', 'ctx["a"]'),
        ('{"a":{"$dict":[[1,2],[1,3]]}}', 'ctx["a"]'),
        ('{"a":{"$timezone":"Europe/Berlin"}}', 'ctx["a"]'),
        ('{"a":{"$x":1},"a":2}', "ctx"),
        ('{"a":[NaN]}', "ctx"),
        ("[1", "ctx"),
        ("", "ctx"),
        ('{"a":"é"}', "ctx"),
        ("1" * 5_000, "ctx"),
        ('{"a":1}x', "ctx"),
    ],
)
def test_damage_is_reported_with_the_path_it_has(text: str, path: str) -> None:
    assert refusal(text).path == path


PAYLOADS = [
    None, True, 0, -1, 1.5, "", "x", "NaN", "2024", "1_0", "../../etc/passwd", [], [1], [1, 2],
    [1, 2, 3], ["a", "b"], [[1]], [[[], 1]], [["2024-01-01T00:00:00", 0, "os"]], {}, {"a": 1},
    ["2024-01-01T00:00:00", 0, "os.path"], ["00:00:00", 5, None], ["00:00:00", 0, [10**30, None]],
    [1, 0], [1.5, 2], [10**9, 10**9, 10**9], [0, 0, 0], [1, 1], [{"a": 1}],
]  # fmt: skip


@pytest.mark.parametrize("tag", sorted(READERS))
def test_a_malformed_payload_is_refused_under_every_tag_without_showing_it(tag: str) -> None:
    errors: list[DecodingError] = []
    for payload in PAYLOADS:
        try:
            DEFAULT_CODEC.decode(json.dumps({"a": {tag: payload}}))
        except DecodingError as error:
            errors.append(error)
    assert len(errors) > 10 or tag == "$secret"
    for error in errors:
        assert error.path.startswith('ctx["a"]')
        assert "passwd" not in str(error)
        assert error.__cause__ is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda items: (
        st.lists(items, max_size=4)
        | st.dictionaries(
            st.sampled_from([*READERS, "$:known", "$:x", "a"]) | st.text(), items, max_size=2
        )
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None)
@given(JSON)
def test_any_json_decodes_or_is_refused(value: Any) -> None:
    @dataclass
    class Known:
        a: Any

    with isolated_types():
        register_type(Known, name="known")
        for text in (json.dumps(value), json.dumps({"a": value})):
            with contextlib.suppress(DecodingError):
                DEFAULT_CODEC.decode(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('{}[]",:$\\1eE-+.tuplenfa'), max_size=60))
def test_any_text_decodes_or_is_refused(text: str) -> None:
    with contextlib.suppress(DecodingError):
        DEFAULT_CODEC.decode_value(text)


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"$tuple":[' * 100_000 + "]}" * 100_000,
        "[" * 400 + "]" * 400,
    ],
    ids=["open", "lists", "dicts", "tuples", "shallow"],
)
def test_a_depth_bomb_is_refused(bomb: str) -> None:
    assert "too deep" in str(refusal(bomb))


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    value = {"a": "[" * 5_000 + '\\"{' * 500}
    assert DEFAULT_CODEC.decode(DEFAULT_CODEC.encode(value)) == value


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.text('[]{}"\\'),
        lambda items: st.lists(items) | st.dictionaries(st.text('[]{}"\\'), items),
    )
)
def test_the_depth_of_a_text_is_that_of_its_values(value: Any) -> None:
    def depth(value: Any) -> int:
        if isinstance(value, dict):
            value = list(value.values())
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    assert depth_of(json.dumps(value)) == depth(value)


def test_a_text_over_the_limit_is_refused_before_it_is_parsed() -> None:
    codec = Codec(limits=Limits(max_bytes=100))
    with pytest.raises(DecodingError, match="has 300 characters, and 100 are allowed"):
        codec.decode("[" * 300)
    assert codec.decode_value(f'"{"x" * 98}"') == "x" * 98
    with pytest.raises(DecodingError, match="has 101 characters"):
        codec.decode_value(f'"{"x" * 99}"')


AUDITED = """
import sys, json, zoneinfo
from importlib.abc import MetaPathFinder
from fluxio.codec import DEFAULT_CODEC as codec, parse_json, register_type
from fluxio.codec.scalars import _is_known
from fluxio.errors import DecodingError

texts = json.loads(sys.stdin.read())
# Whatever is loaded once and lazily, by fixed names, is loaded before the hook listens.
zone = codec.encode_value(zoneinfo.ZoneInfo("Europe/Berlin"))
codec.decode_value(zone)
for text in ('{"$zone":"No/Where"}', '{"$:x":1}', '{"$decimal":"x"}', '[', '{"$bytes":"x"}'):
    try:
        codec.decode_value(text)
    except DecodingError:
        pass

seen = []

class Watch(MetaPathFinder):
    # It sees the imports that raise no audit event.
    def find_spec(self, name, path, target=None):
        seen.append(("find_spec", name))

sys.meta_path.insert(0, Watch())
FORBIDDEN = ("import", "exec", "compile", "open", "os.", "subprocess.", "socket.", "pickle.",
             "marshal.", "ctypes.", "code.", "shutil.", "builtins.input")
sys.addaudithook(lambda event, args: seen.append((event, str(args)[:200]))
                 if event.startswith(FORBIDDEN) else None)
refused = 0
for text in texts:
    for read in (codec.decode_value, parse_json):
        try:
            read(text)
        except DecodingError:
            refused += 1
print(json.dumps([refused, seen]))
"""


@pytest.mark.security(12)
def test_no_hostile_text_imports_runs_or_opens_anything() -> None:
    names = [
        "os.system", "builtins.eval", "subprocess:Popen", "posix.system", "pickle", "antigravity",
        "this", "tzdata.zoneinfo", "../../etc/passwd", "/etc/passwd", "os/path", "Evil", "json",
        "xml.dom", "__import__('os').system('true')", "cos\nsystem\n(S'true'\ntR.",
    ]  # fmt: skip
    tags = [
        *READERS, "$py/object", "py/object", "$type", "$class", "$ref", "$import", "$eval",
        "$reduce", "__reduce__", "__class__", "$:os.system", "$:builtins.eval", "$:", "$",
    ]  # fmt: skip
    texts = [
        json.dumps({tag: payload})
        for tag in tags
        for name in names
        for payload in (
            name,
            [name],
            [name, ["true"]],
            {"__class__": name},
            ["2024-01-01T00:00:00", 0, name],
            ["00:00:00", 0, name],
        )
    ]
    texts += [json.dumps({f"$:{name}": []}) for name in names]
    result = subprocess.run(
        [sys.executable, "-c", AUDITED],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    refused, seen = json.loads(result.stdout)
    assert seen == []
    assert refused > 1_000


def test_the_audit_would_see_an_import() -> None:
    sabotage = AUDITED.replace("read(text)", "__import__('no_such_module') or read(text)")
    result = subprocess.run(
        [sys.executable, "-c", sabotage.replace("except DecodingError:", "except Exception:")],
        input=json.dumps(["1"]),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(result.stdout)[1]


def test_a_zone_name_never_leads_out_of_the_zone_database() -> None:
    outside = ["/etc/passwd", "../zoneinfo/UTC", "Europe/../UTC", "UTC\n", "", "a" * 41, "a/" * 9]
    for name in outside:
        assert not _is_known(name)
    assert _is_known("UTC")


@pytest.mark.security(12)
def test_the_codec_contains_no_way_to_run_or_import_what_a_text_names() -> None:
    package = ROOT / "fluxio" / "codec"
    words = ("pickle", "marshal", "shelve", "yaml", "eval(", "exec(", "__import__", "getattr(sys")
    for module in package.glob("*.py"):
        source = module.read_text(encoding="utf-8")
        assert not [word for word in words if f"import {word}" in source], module
        assert not [word for word in words if word.endswith("(") and word in source], module
        assert source.count("import_module(") == source.count('import_module("'), module
