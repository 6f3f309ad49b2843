"""Walks a value through its parts and writes it as one list of unambiguous tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter

from fluxio.compiler.fingerprint.describe import describe
from fluxio.compiler.fingerprint.parts import Acting, Parts, opaque

# Beyond these a captured object is a world of its own, and its type has to do.
DEEPEST = 100
MOST_OBJECTS = 1_000
MOST_VALUES = 100_000


class Rendering:
    """The tokens of one value. The first letter of each says what it is, so none can be mistaken.

    An object that was written before is written as its number, so values that contain themselves
    come to an end.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        # The objects are kept too: while they live, no other object can get their id.
        self._numbers: dict[int, tuple[int, object]] = {}
        self._depth = 0
        self._values = 0
        self._objects = 0
        self._opaque = 0

    def write(self, value: object) -> None:
        """Append the tokens of a value; any value will do."""
        parts = self._described(value)
        subject = value.value if type(value) is Acting else value
        if parts.is_shared:
            if number := self._numbers.get(id(subject)):
                self.tokens.append(f"again {number[0]}")
                return
            self._numbers[id(subject)] = (len(self._numbers), subject)
        length, numbers = len(self.tokens), len(self._numbers)
        opaque_before, spent_before = self._opaque, self._is_spent()
        self._write_parts(parts)
        self._opaque += parts.is_opaque
        has_gap = parts.is_whole and self._opaque > opaque_before
        # Which element of a set comes too late differs from process to process.
        is_cut = bool(parts.groups) and self._is_spent() and not spent_before
        if has_gap or is_cut:
            self._rewind(length, numbers)
            self._write_parts(opaque(type(subject)))
            self._opaque += is_cut

    def _described(self, value: object) -> Parts:
        self._values += 1
        if self._depth >= DEEPEST or self._is_spent():
            return opaque(type(value))
        try:
            parts = describe(value)
        except Exception:  # noqa: BLE001 - a captured object may refuse any question
            return opaque(type(value))
        self._objects += parts.is_whole
        return parts

    def _is_spent(self) -> bool:
        return self._values > MOST_VALUES or self._objects > MOST_OBJECTS

    def _write_parts(self, parts: Parts) -> None:
        self.tokens.append(f"({parts.label}")
        self.tokens.extend(f"-{token}" for token in parts.tokens)
        self._depth += 1
        for name, member in parts.members:
            if self._is_spent():
                self.tokens.append("cut")
                break
            self.tokens.append(f".{name}")
            self.write(member)
        apart = [(self._apart(first), rest) for first, *rest in parts.groups]
        for tokens, rest in sorted(apart, key=itemgetter(0)):
            self.tokens += tokens
            for member in rest:
                self.write(member)
        self._depth -= 1
        self.tokens.append(")")

    def _apart(self, value: object) -> list[str]:
        # The tokens alone, numbered as if no other element had been written before.
        length, numbers = len(self.tokens), len(self._numbers)
        self.write(value)
        tokens = self.tokens[length:]
        self._rewind(length, numbers)
        return tokens

    def _rewind(self, length: int, numbers: int) -> None:
        del self.tokens[length:]
        while len(self._numbers) > numbers:
            self._numbers.popitem()


def encoded(tokens: Sequence[str]) -> Iterator[bytes]:
    """Each token behind its length in bytes; lone surrogates are no obstacle."""
    for token in tokens:
        data = token.encode("utf-8", "surrogatepass")
        yield b"%d:" % len(data)
        yield data
