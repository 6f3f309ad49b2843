"""What a context promises: immutable, ordered, aware of its writes."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxio import Context, FinalContext, MergeConflictError

KEYS = st.text(min_size=1, max_size=4)
VALUES = st.dictionaries(KEYS, st.integers(), max_size=6)


def test_set_gives_a_new_context_and_leaves_the_old_one() -> None:
    old = Context.create({"a": 1})
    new = old.set("a", 2)
    assert (old["a"], new["a"]) == (1, 2)


def test_a_context_refuses_attribute_changes_with_the_remedy() -> None:
    context = Context.create({})
    with pytest.raises(AttributeError, match=r"ctx\.set"):
        context.total = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="never removed"):
        del context._data


def test_a_context_reads_like_a_mapping() -> None:
    context = Context.create({"b": 1, "a": None})
    assert list(context) == ["b", "a"]
    assert len(context) == 2
    assert "a" in context
    assert "c" not in context
    assert context.get("c", 7) == 7
    assert context.get("a", 7) is None
    with pytest.raises(KeyError):
        context["c"]


@pytest.mark.parametrize(
    "make", [lambda: Context.create({1: 2}), lambda: Context.create({}).set(1, 2)]
)  # type: ignore[dict-item, arg-type]
def test_keys_are_text(make: object) -> None:
    with pytest.raises(TypeError, match="Context keys are str"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("data", [[("a", 1)], "text", 5])
def test_a_context_is_made_from_a_mapping_only(data: object) -> None:
    with pytest.raises(TypeError, match="mapping"):
        Context.create(data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mapping"):
        Context.create({}).update(data)  # type: ignore[arg-type]


def test_the_constructor_points_to_create() -> None:
    with pytest.raises(TypeError, match=r"Context\.create"):
        Context()


def test_writes_are_what_was_set_since_the_fork() -> None:
    branch = Context.create({"a": 1, "b": 2}).set("b", 3).fork("left").set("c", 4).update({"a": 5})
    assert branch.name == "left"
    assert branch.written == {"c", "a"}
    assert dict(branch.writes) == {"c": 4, "a": 5}
    assert branch.settled().written == frozenset()


def test_a_fork_shares_its_values_with_its_source() -> None:
    source = Context.create({f"k{n}": n for n in range(1000)})
    assert source.fork("x")._data is source._data


def test_setting_an_equal_value_again_counts_as_written() -> None:
    assert Context.create({"a": 1}).set("a", 1).written == {"a"}


@given(base=VALUES, left=VALUES, right=VALUES)
def test_a_merge_holds_every_write_or_names_every_conflict(
    base: dict[str, int], left: dict[str, int], right: dict[str, int]
) -> None:
    root = Context.create(base)
    branches = [root.fork("left").update(left), root.fork("right").update(right)]
    shared = sorted(set(left) & set(right))
    if shared:
        with pytest.raises(MergeConflictError) as caught:
            Context.merge(root, branches)
        assert caught.value.conflicting_keys == tuple(shared)
        assert caught.value.branch_names == ("left", "right")
    else:
        merged = Context.merge(root, branches)
        assert dict(merged) == {**base, **left, **right}
        assert merged.written == set(left) | set(right)


def test_equal_values_from_two_branches_conflict_all_the_same() -> None:
    root = Context.create({})
    with pytest.raises(MergeConflictError):
        Context.merge(root, [root.fork("a").set("k", 1), root.fork("b").set("k", 1)])


def test_a_snapshot_is_independent_in_depth() -> None:
    context = Context.create({"items": [1, {"n": 2}]})
    snapshot = context.snapshot()
    snapshot["items"][1]["n"] = 99
    assert context["items"] == [1, {"n": 2}]


def test_a_snapshot_comes_back_with_name_and_writes() -> None:
    context = Context.from_snapshot({"a": 1, "b": 2}, name="left", written=["b"])
    assert (context.name, context.written, dict(context)) == ("left", {"b"}, {"a": 1, "b": 2})
    with pytest.raises(KeyError):
        Context.from_snapshot({}, written=["missing"])


def test_contexts_survive_pickling_and_copying() -> None:
    context = Context.create({"a": 1}).fork("left").set("b", 2)
    for twin in (pickle.loads(pickle.dumps(context)), copy.deepcopy(context)):
        assert twin == context
        assert (twin.name, twin.written) == ("left", {"b"})
    final = FinalContext.of(context, "run-1")
    assert pickle.loads(pickle.dumps(final)).run_id == "run-1"
    assert final == context


def test_contexts_are_equal_by_value_and_cannot_be_hashed() -> None:
    assert Context.create({"a": 1}) == Context.create({}).set("a", 1)
    assert Context.create({"a": 1}) != {"a": 1}
    with pytest.raises(TypeError):
        hash(Context.create({}))


def test_a_context_never_shows_its_values() -> None:
    assert repr(Context.create({"password": "hunter2"})) == "<Context main: password>"
