"""Whether two values are the same: in type, in content, all the way down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from fluxio.codec.secret import Secret
from fluxio.diff.shapes import ATOMS, Shape, elements, entries, exact, shape_of, typed

_TEXT_KEYS = frozenset({str})

# Up to here a walk keeps no record of the pairs it met; only a longer one can be going in circles.
_UNRECORDED = 25_000

Pairs = Iterator[tuple[Any, Any]]


def same(a: object, b: object) -> bool:
    """Whether `a` and `b` are the same in every type and value.

    The walk keeps its own stack, so depth is no limit, and values that contain themselves come to
    an end.
    """
    stack: list[Pairs] = [iter(((a, b),))]
    # The objects are kept too: while they live, no other object can get their id.
    met: dict[tuple[int, int], tuple[Any, Any]] = {}
    steps = 0
    while stack:
        for left, right in stack[-1]:
            if left is right:
                continue
            kind = type(left)
            if kind is not type(right):
                return False
            if kind in ATOMS:
                if left != right:
                    return False
            elif kind is float:
                if (left != right or not left) and left.hex() != right.hex():
                    return False
            else:
                steps += 1
                if steps > _UNRECORDED:
                    pair = id(left), id(right)
                    if pair in met:
                        continue
                    met[pair] = left, right
                inside = _inside(left, right)
                if inside is None:
                    return False
                stack.append(inside)
                break
        else:
            stack.pop()
    return True


def _inside(left: Any, right: Any) -> Pairs | None:
    """The pairs that decide whether two values of one type are the same; None if they are not."""
    kind: type = type(left)
    if kind is dict:
        return _in_mapping(left, right)
    if kind is list or kind is tuple:
        return _in_sequence(left, right)
    shape = shape_of(kind)
    match shape:
        case Shape.MAPPING | Shape.RECORD:
            ours, theirs = entries(left, shape), entries(right, shape)
            if ours is not None and theirs is not None:
                return _in_mapping(ours, theirs)
        case Shape.SEQUENCE:
            first, second = elements(left), elements(right)
            if first is not None and second is not None:
                return _in_sequence(first, second)
        case Shape.SET | Shape.LEAF:
            pass
        case _:
            assert_never(shape)
    return iter(()) if same_leaf(left, right) else None


def _in_sequence(left: Sequence[Any], right: Sequence[Any]) -> Pairs | None:
    return zip(left, right) if len(left) == len(right) else None  # noqa: B905 - see below


def _in_mapping(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> Pairs | None:
    if len(left) != len(right):
        return None
    # `strict=` would cost more than the walk through a small dict, and the lengths are known.
    for key, other in zip(left, right):  # noqa: B905
        if key is not other and (type(key) is not str or type(other) is not str or key != other):
            return _in_other_order(left, right)
    return zip(left.values(), right.values())  # noqa: B905


def _in_other_order(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> Pairs | None:
    if plain_keys(left) and plain_keys(right):
        if left.keys() != right.keys():
            return None
        return zip(left.values(), map(right.__getitem__, left), strict=True)
    try:
        by_type = {typed(key): value for key, value in right.items()}
        return iter([(value, by_type[typed(key)]) for key, value in left.items()])
    except Exception:  # noqa: BLE001 - a key is missing, or refuses to be compared
        return None


def same_leaf(left: Any, right: Any) -> bool:
    """Whether two values of one type that have no inside, or do not show it, are the same."""
    kind: type = type(left)
    is_set = shape_of(kind) is Shape.SET
    try:
        if kind is Secret:
            return _same_secret(left, right)
        if is_set:
            return {typed(element) for element in left} == {typed(element) for element in right}
        left, right = exact(left), exact(right)
        answer = left == right
        return answer if type(answer) is bool else _same_bytes(left, right)
    except Exception:  # noqa: BLE001 - what cannot be compared is not known to be the same
        return False


def plain_keys(mapping: Mapping[Any, Any]) -> bool:
    """Whether all keys are str, so that equal keys are the same key."""
    return _TEXT_KEYS.issuperset(map(type, mapping))


def _same_secret(left: Secret[Any], right: Secret[Any]) -> bool:
    ours, theirs = left.reveal(), right.reveal()
    # Of texts a Secret's own `==` is exact, and does not tell by its time how alike they are.
    return left == right if type(ours) in (str, bytes) else same(ours, theirs)


def _same_bytes(left: Any, right: Any) -> bool:
    # Arrays answer `==` element by element, but show their memory.
    with memoryview(left) as ours, memoryview(right) as theirs:
        return (ours.format, ours.shape, ours.tobytes()) == (
            theirs.format,
            theirs.shape,
            theirs.tobytes(),
        )
