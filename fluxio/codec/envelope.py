"""The envelope of a stored text: format version, seal, and a digest that ties it to its row."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from fluxio.codec.keyring import Keyring, UnreadableError, start_of_plain
from fluxio.errors import ConfigurationError, CorruptCheckpointError, EncodingError

FORMAT_VERSION = 1

Bound = str | int | float | bool | None
"""A fact about a row that its digest covers."""

_HASHED_AT_ONCE = 1 << 18
_VERSION = re.compile(r"([1-9][0-9]{0,4}):", re.ASCII)


class Sealed(NamedTuple):
    """What a row keeps: ASCII text, and the 64 hexadecimal digits of its SHA-256 (FIPS 180-4)."""

    payload: str
    digest: str


def seal(body: str, binding: Mapping[str, Bound], *, keyring: Keyring | None = None) -> Sealed:
    """Put an encoded text into its envelope.

    `binding` are the facts about the row that must not change unnoticed (run id, sequence, step,
    instruction pointer, flags and so on). With a keyring the text is encrypted or signed as well.

    Raises:
        EncodingError: the text is not ASCII.
        ConfigurationError: a value of `binding` is of another type.
    """
    return seal_bound(body, _rendered(binding), keyring=keyring)


def seal_bound(body: str, bound: bytes, *, keyring: Keyring | None = None) -> Sealed:
    """Do as `seal` with a binding that is spelled already (see `Spelling`).

    Raises:
        EncodingError: the text is not ASCII.
    """
    if not body.isascii():
        raise EncodingError("Only ASCII text is sealed. Encode values with a Codec.", path="")
    # Large texts are copied as seldom as can be.
    if keyring is None:
        payload = f"{FORMAT_VERSION}:p:{body}"
    else:
        payload = f"{FORMAT_VERSION}:{keyring.seal(body, bound)}"
    return Sealed(payload=payload, digest=_digest(payload, bound))


def unseal(
    payload: str, digest: str, binding: Mapping[str, Bound], *, keyring: Keyring | None = None
) -> str:
    """The text that was sealed, if nothing about it or its row has changed since.

    Raises:
        CorruptCheckpointError: the row was altered, cut off, swapped, written by a newer release,
            or lacks the protection that the keyring demands. `reason` says which.
        ConfigurationError: a value of `binding` is of a type that is never bound.
    """
    bound = _rendered(binding)
    at = _start_of_seal(payload, digest, binding, bound)
    try:
        if keyring is None:
            return payload[start_of_plain(payload, at) :]
        return keyring.open(payload[at:], bound)
    except UnreadableError as error:
        raise _corrupt(binding, str(error)) from None


def start_of_body(payload: str, digest: str, binding: Mapping[str, Bound]) -> int:
    """Do as `unseal` without a keyring, and say where the text begins instead of copying it.

    Raises:
        CorruptCheckpointError, ConfigurationError: as with `unseal`.
    """
    at = _start_of_seal(payload, digest, binding, _rendered(binding))
    try:
        return start_of_plain(payload, at)
    except UnreadableError as error:
        raise _corrupt(binding, str(error)) from None


def _start_of_seal(payload: str, digest: str, binding: Mapping[str, Bound], bound: bytes) -> int:
    version = _VERSION.match(payload)
    if version is not None and int(version[1]) > FORMAT_VERSION:
        raise _corrupt(
            binding,
            f"it is in format {version[1]}, and this release reads formats up to {FORMAT_VERSION}. "
            "Upgrade fluxio here before the run is resumed.",
        )
    # Bytes, since text with other than ASCII characters cannot be compared in constant time.
    expected = _digest(payload, bound).encode("ascii")
    if not hmac.compare_digest(expected, digest.encode("utf-8", "surrogatepass")):
        raise _corrupt(
            binding,
            "its digest does not match: it was altered, cut off, or belongs to another row. "
            "Restore the row from a backup, or start the run afresh.",
        )
    if version is None:
        raise _corrupt(binding, "it names no format. It was not written by fluxio.")
    return version.end()


def is_plain(payload: str) -> bool:
    """Whether a payload needs no key: neither signed nor encrypted, sound or not."""
    return payload.partition(":")[2].startswith("p:")


def _corrupt(binding: Mapping[str, Bound], reason: str) -> CorruptCheckpointError:
    run_id, sequence = binding.get("run_id"), binding.get("sequence")
    return CorruptCheckpointError(
        f"Row {sequence} of run {run_id!r} cannot be used: {reason}",
        run_id=run_id,
        sequence=sequence,
        reason=reason,
    )


def _digest(payload: str, bound: bytes) -> str:
    # In parts, so that a large text is not there twice; what is not ASCII was not sealed here.
    length = len(payload)
    if length <= _HASHED_AT_ONCE:
        encoded = payload.encode("utf-8", "surrogatepass")
        return hashlib.sha256(b"%b%d:%b" % (bound, len(encoded), encoded)).hexdigest()
    if not payload.isascii():
        length = len(payload.encode("utf-8", "surrogatepass"))
    digest = hashlib.sha256(b"%b%d:" % (bound, length))
    for start in range(0, len(payload), _HASHED_AT_ONCE):
        part = payload[start : start + _HASHED_AT_ONCE]
        digest.update(part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


class Spelling:
    """How bindings with the same names are spelled, put together once; `names` in any order."""

    def __init__(self, *names: str) -> None:
        self.names = tuple(sorted(names))
        named = "".join(_named(name).replace("%", "%%") + "%s" for name in self.names)
        self._template = f"{len(names)};{named}"

    def spell(self, values: Iterable[Any]) -> bytes:
        """A binding as `seal` spells it; `values` of plain types, in the order of `self.names`."""
        return (self._template % tuple(map(_plainly_spelled, values))).encode(
            "utf-8", "surrogatepass"
        )


def _rendered(binding: Mapping[str, Bound]) -> bytes:
    """One spelling per binding: sorted, each name and value with its length and type in front."""
    spelling = _spelling_of(tuple(binding))
    values = [binding[name] for name in spelling.names]
    if _PLAIN.issuperset(map(type, values)):
        return spelling.spell(values)
    parts = [_named(name) + _spelled(binding[name], name) for name in spelling.names]
    return f"{len(parts)};{''.join(parts)}".encode("utf-8", "surrogatepass")


_PLAIN = frozenset({str, int, bool, type(None)})


@lru_cache(maxsize=64)
def _spelling_of(names: tuple[str, ...]) -> Spelling:
    return Spelling(*names)


@lru_cache(maxsize=256)
def _named(name: str) -> str:
    return f"{len(name)}:{name}"


def _spelled(value: Any, name: str) -> str:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return _plainly_spelled(value)
    if kind is float:
        text = value.hex()
        return f"f{len(text)}:{text}"
    if isinstance(value, str):  # a StrEnum comes back from a row as the plain str it stands for
        return _plainly_spelled(str.__str__(value))
    raise ConfigurationError(
        f"{name!r} is bound to a row as {kind.__name__}. Bind a str, int, float, bool or None."
    )


# The rows of a run have most of their facts in common. Floats stay out: 0.0 would be found as -0.0.
@lru_cache(maxsize=1024, typed=True)
def _plainly_spelled(value: str | int | None) -> str:
    if value is None:
        return "n0:"
    if isinstance(value, str):
        return f"s{len(value)}:{value}"
    if isinstance(value, bool):
        return "b4:True" if value else "b5:False"
    text = hex(value)
    return f"i{len(text)}:{text}"
