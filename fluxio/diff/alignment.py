"""Which elements of two lists belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from fluxio.diff.equality import same

MOST_EDITS = 128

Pair = tuple[int | None, int | None]


def aligned(a: Sequence[Any], b: Sequence[Any]) -> Iterator[Pair]:
    """The positions in `a` and `b` of all elements that are not the same, in order.

    Equal ends are set aside first, then a longest common subsequence of what is between them
    (Myers, "An O(ND) Difference Algorithm and Its Variations", 1986). What is left in each gap is
    paired by position; an element without a partner has None on the other side. After `MOST_EDITS`
    removals and additions the search is given up, and all that is between the ends is one gap.
    """
    start = 0
    shortest = min(len(a), len(b))
    while start < shortest and same(a[start], b[start]):
        start += 1
    tail = 0
    # Of lists of one length, the pair that ended the first loop would be the last one of this.
    most = shortest - start - (len(a) == len(b))
    while tail < most and same(a[-1 - tail], b[-1 - tail]):
        tail += 1
    middle = _Middle(a[start : len(a) - tail], b[start : len(b) - tail])
    kept = [(-1, -1), *middle.common(), (len(middle.a), len(middle.b))]
    for (i, j), (next_i, next_j) in pairwise(kept):
        yield from paired(
            range(start + i + 1, start + next_i), range(start + j + 1, start + next_j)
        )


def paired(a: range, b: range) -> Iterator[Pair]:
    """The positions of two gaps side by side; the longer one goes on with None beside it."""
    for offset in range(max(len(a), len(b))):
        yield (
            a[offset] if offset < len(a) else None,
            b[offset] if offset < len(b) else None,
        )


class _Middle:
    """Two lists without their equal ends, and what is known about their elements."""

    def __init__(self, a: Sequence[Any], b: Sequence[Any]) -> None:
        self.a = a
        self.b = b
        # The first two and the last two elements differ, or they would have been set aside.
        self._known = {(0, 0): False, (len(a) - 1, len(b) - 1): False}

    def common(self) -> list[tuple[int, int]]:
        """The positions of a longest common subsequence; empty where there is none to look for."""
        if not self.a or not self.b or len(self.a) == len(self.b) == 1:
            return []
        furthest = {1: 0}  # by diagonal (i - j), how far in a the search has come
        history: list[dict[int, int]] = []
        for edits in range(min(len(self.a) + len(self.b), MOST_EDITS) + 1):
            history.append(dict(furthest))
            for diagonal in range(-edits, edits + 1, 2):
                i = self._slide(_step(furthest, diagonal, edits), diagonal)
                furthest[diagonal] = i
                if i >= len(self.a) and i - diagonal >= len(self.b):
                    return self._trace(history)
        return []

    def _slide(self, i: int, diagonal: int) -> int:
        j = i - diagonal
        while i < len(self.a) and j < len(self.b) and self._is_same(i, j):
            i, j = i + 1, j + 1
        return i

    def _trace(self, history: list[dict[int, int]]) -> list[tuple[int, int]]:
        kept: list[tuple[int, int]] = []
        i, j = len(self.a), len(self.b)
        for edits in range(len(history) - 1, -1, -1):
            start = _step(history[edits], i - j, edits)
            while i > start:
                i, j = i - 1, j - 1
                kept.append((i, j))
            if edits and i - j != -edits and _came_from_a(history[edits], i - j, edits):
                i -= 1
            else:
                j -= 1
        return kept[::-1]

    def _is_same(self, i: int, j: int) -> bool:
        known = self._known.get((i, j))
        if known is None:
            known = self._known[i, j] = same(self.a[i], self.b[j])
        return known


def _came_from_a(furthest: dict[int, int], diagonal: int, edits: int) -> bool:
    """Whether the furthest way onto this diagonal leaves out an element of a, rather than of b."""
    if diagonal == -edits:
        return False
    return diagonal == edits or furthest[diagonal - 1] >= furthest[diagonal + 1]


def _step(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    if _came_from_a(furthest, diagonal, edits):
        return furthest[diagonal - 1] + 1
    return furthest[diagonal + 1]
