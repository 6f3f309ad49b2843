"""The codec: values become one ASCII JSON text and come back equal, with the same types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from json import JSONDecodeError
from typing import Any

from fluxio.codec.decoding import (
    depth_of,
    read_json,
    read_plain_json,
    revive_by_walk,
)
from fluxio.codec.encoding import Walk, too_large, write_json
from fluxio.codec.limits import Limits
from fluxio.codec.paths import Refusal, key_step
from fluxio.codec.registry import current_types
from fluxio.errors import DecodingError, EncodingError

# A pair of a dict with keys of any type stands three brackets deep; nothing takes more.
BRACKETS_PER_LEVEL = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """Turns values into text and back within limits.

    The types it knows are closed: None, bool, int, float, str, list, dict, tuple, set, frozenset,
    bytes, bytearray, Decimal, Fraction, complex, range, UUID, date, time, datetime, timedelta,
    timezone, ZoneInfo, the paths of pathlib, `Secret`, and what `register_type` added. A subclass
    of one of these is another type. Every NaN comes back as the same NaN, and two references to one
    list come back as two equal lists.
    """

    limits: Limits = field(default_factory=Limits)

    def encode(self, mapping: Mapping[str, Any], root: str = "ctx") -> str:
        """The text of a mapping; `root` is what errors call it.

        Raises:
            EncodingError: a value cannot be stored without loss, or the whole is too large or too
                deep. `path` is the key path of the value.
        """
        return self.encode_value(mapping if type(mapping) is dict else dict(mapping), root)

    def decode(self, text: str, root: str = "ctx", *, start: int = 0) -> dict[str, Any]:
        """The mapping that `encode` was given, as a dict; its text begins at `start` of `text`.

        Raises:
            DecodingError: the text is no work of this codec, or names a type nobody registered.
                `path` is the key path of the value.
        """
        value = self.decode_value(text, root, start=start)
        if type(value) is not dict:
            raise DecodingError(
                f"The text of {root} holds {type(value).__name__} instead of a mapping. "
                "It was not written as a mapping, or it is damaged.",
                path=root,
            )
        return value

    def encode_value(self, value: Any, root: str = "value") -> str:
        """The text of any one value; errors are those of `encode`."""
        walk = Walk(self.limits, current_types())
        try:
            text = write_json(walk.encode(value, 1))
            if len(text) > self.limits.max_bytes:
                raise self._oversize(value)
        except Refusal as refusal:
            raise _encoding_error(refusal, root) from refusal.__cause__
        except RecursionError:
            raise EncodingError(
                f"The value of {root} is nested deeper than the interpreter's stack reaches from "
                "here. Flatten it, or call from fewer nested functions.",
                path=root,
            ) from None
        return text

    def decode_value(self, text: str, root: str = "value", *, start: int = 0) -> Any:
        """The value that `encode_value` was given; errors are those of `decode`."""
        self._check_text(text, root, start)
        try:
            # Without a tag there is nothing to revive, and the parser stays in C throughout. One
            # character is looked for many times faster than two.
            tagged = "$" in text and text.find('"$', start) >= 0
            return (read_json if tagged else read_plain_json)(text, start)
        except Refusal as refusal:
            raise _decoding_error(_located(text, start, refusal), root) from refusal.__cause__
        except JSONDecodeError as error:
            raise DecodingError(
                f"The text of {root} is no JSON from character {error.pos - start} on "
                f"({error.msg}). "
                "It is damaged or was not written by this codec.",
                path=root,
            ) from None
        except ValueError:
            raise DecodingError(
                f"The text of {root} has a number with too many digits. It is damaged.", path=root
            ) from None
        except RecursionError:
            raise _too_deep(root) from None

    def check(self, value: Any, root: str = "value") -> None:
        """Do nothing if `value` can be stored; errors are those of `encode`."""
        self.encode_value(value, root)

    def _oversize(self, value: Any) -> Refusal:
        """The refusal of a text that came out too long, at the longest of the outermost items."""
        refusal = too_large(self.limits)
        if type(value) is not dict:
            return refusal
        types = current_types()
        sizes = {
            key: len(write_json(Walk(self.limits, types).encode(item, 2)))
            for key, item in value.items()
        }
        return refusal.through(value, key_step(max(sizes, key=sizes.__getitem__)))

    def _check_text(self, text: str, root: str, start: int) -> None:
        length = len(text) - start
        if length > self.limits.max_bytes:
            raise DecodingError(
                f"The text of {root} has {length} characters, and {self.limits.max_bytes} are "
                "allowed. Raise max_bytes of the codec's Limits if it is known to be sound.",
                path=root,
            )
        if not text.isascii():
            raise DecodingError(
                f"The text of {root} is not ASCII. It is damaged or was not written by this codec.",
                path=root,
            )
        deepest = BRACKETS_PER_LEVEL * (self.limits.max_depth + 1)
        # Counting is far cheaper than following the brackets, and nearly always enough.
        opened = text.count("[", start) + text.count("{", start)
        if opened > deepest and depth_of(text[start:]) > deepest:
            raise _too_deep(root)


def _located(text: str, start: int, refusal: Refusal) -> Refusal:
    """The same refusal with its key path, found by reading the text a second time."""
    try:
        revive_by_walk(read_plain_json(text, start))
    except Refusal as found:
        return found
    return refusal


def _encoding_error(refusal: Refusal, root: str) -> EncodingError:
    circle = refusal.circle()
    path = refusal.path(root, circle)
    if circle is not None:
        return EncodingError(
            f"The value of {path} holds itself. Store a key to look it up by instead.", path=path
        )
    return EncodingError(f"The value of {path} {refusal.reason}", path=path)


def _decoding_error(refusal: Refusal, root: str) -> DecodingError:
    path = refusal.path(root)
    return DecodingError(f"The stored value of {path} {refusal.reason}", path=path)


def _too_deep(root: str) -> DecodingError:
    return DecodingError(
        f"The text of {root} is nested too deep. It is damaged, or max_depth of the codec's Limits "
        "was higher when it was written.",
        path=root,
    )


DEFAULT_CODEC = Codec()
"""The codec with the default limits: 10 MiB of text, 100 levels."""
