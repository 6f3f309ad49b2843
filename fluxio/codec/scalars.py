"""The closed table of values without items: how each type is written as JSON and read back.

A `Leaf` writes a value as its payload, which stands in the stored text as ``{"$tag": payload}``.
The payload is JSON already. Reading may raise anything on a malformed payload; the caller turns
that into one error that does not repeat the payload.
"""

from __future__ import annotations

import base64
import functools
import pathlib
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from fluxio.codec.paths import Refusal

SURROGATE = re.compile("[\ud800-\udfff]")

# Below this an int is written in decimal: 309 digits are within any digit limit Python can have.
LARGE_INT = 2**1024

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """How one type is written as the payload of `tag`, and read back from it."""

    tag: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _text(payload: Any) -> str:
    if type(payload) is not str:
        raise TypeError
    return payload


def _whole(payload: Any) -> int:
    if type(payload) is not int:
        raise TypeError
    return payload


# --- numbers and text whose plain JSON form would lose something ---------------------------------


def write_int(value: int) -> Any:
    """An int of any size: itself, or a hexadecimal text where decimal conversion is limited."""
    return value if -LARGE_INT < value < LARGE_INT else {"$int": hex(value)}


def read_int(payload: Any) -> int:
    """The int of a hexadecimal text."""
    return int(_text(payload), 16)


def write_float(value: float) -> Any:
    """A float: itself, or a text where JSON has no word for it. Every NaN becomes the one NaN."""
    return value if value - value == 0 else {"$float": str(value)}


def read_float(payload: Any) -> float:
    """The float of "nan", "inf" or "-inf"."""
    if payload not in ("nan", "inf", "-inf"):
        raise ValueError
    return float(payload)


def write_str(value: str) -> Any:
    """A str: itself, or base64 where it has surrogates, since JSON joins pairs of them."""
    if value.isascii() or not SURROGATE.search(value):
        return value
    return {"$str": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")}


def read_str(payload: Any) -> str:
    """The str of a base64 text."""
    return _read_bytes(payload).decode("utf-8", "surrogatepass")


def _read_bytes(payload: Any) -> bytes:
    return base64.b64decode(_text(payload), validate=True)


def _read_fraction(payload: Any) -> Fraction:
    numerator, denominator = payload
    return Fraction(_whole(numerator), _whole(denominator))


def _read_complex(payload: Any) -> complex:
    real, imaginary = payload
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError
    return complex(real, imaginary)


def _read_range(payload: Any) -> range:
    start, stop, step = payload
    return range(_whole(start), _whole(stop), _whole(step))


# --- dates and times -----------------------------------------------------------------------------


@functools.cache
def _listed_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@functools.lru_cache(maxsize=1_000)
def _is_known(key: str) -> bool:
    # Only zones that are there are opened, since zoneinfo looks for any other inside a package. The
    # full list is asked last: reading it takes up to a tenth of a second.
    if not _ZONE_KEY.fullmatch(key):
        return False
    on_disk = any(pathlib.Path(folder, key).is_file() for folder in zoneinfo.TZPATH)
    return on_disk or key in _listed_zones()


def _zone(key: str) -> zoneinfo.ZoneInfo:
    if not _is_known(key):
        raise ValueError
    return zoneinfo.ZoneInfo(key)


def _write_zone(zone: tzinfo) -> Any:
    """A fixed offset as [microseconds, name or None], a zone of the database as its key."""
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = None if _is_unnamed(zone) else write_str(zone.tzname(None))
        return [offset // _MICROSECOND, name]
    key = zone.key if type(zone) is zoneinfo.ZoneInfo else None
    if key is None:
        raise Refusal(
            f"has a time zone of type {type(zone).__name__} that cannot be found again by name. "
            'Use datetime.timezone or zoneinfo.ZoneInfo("Area/City").'
        )
    try:
        _zone(key)
    except (ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise Refusal(
            f"has the time zone {key[:60]!r}, which is not in this machine's time zone database. "
            "Use one of zoneinfo.available_timezones()."
        ) from None
    return key


def _read_zone(payload: Any) -> tzinfo:
    if type(payload) is str:
        return _zone(payload)
    microseconds, name = payload
    offset = timedelta(microseconds=_whole(microseconds))
    return timezone(offset) if name is None else timezone(offset, _text(name))


def _is_unnamed(zone: timezone) -> bool:
    return zone.tzname(None) == timezone(zone.utcoffset(None)).tzname(None)


def _is_plain_offset(zone: tzinfo) -> bool:
    # CPython reads an ISO offset below one second as UTC.
    return type(zone) is timezone and _is_unnamed(zone) and not zone.utcoffset(None).microseconds


def _write_moment(value: datetime | time) -> Any:
    """ISO 8601 where that says everything, else [ISO 8601 without zone, fold, zone or None]."""
    zone = value.tzinfo
    if not value.fold and (zone is None or _is_plain_offset(zone)):
        return value.isoformat()
    naive = value.replace(tzinfo=None, fold=0)
    return [naive.isoformat(), value.fold, None if zone is None else _write_zone(zone)]


def _read_datetime(payload: Any) -> datetime:
    if type(payload) is str:
        return datetime.fromisoformat(payload)
    naive, fold, zone = payload
    return datetime.fromisoformat(_text(naive)).replace(
        fold=_whole(fold), tzinfo=None if zone is None else _read_zone(zone)
    )


def _read_time(payload: Any) -> time:
    if type(payload) is str:
        return time.fromisoformat(payload)
    naive, fold, zone = payload
    return time.fromisoformat(_text(naive)).replace(
        fold=_whole(fold), tzinfo=None if zone is None else _read_zone(zone)
    )


def _read_fixed_offset(payload: Any) -> timezone:
    zone = _read_zone(payload)
    if type(zone) is not timezone:
        raise TypeError
    return zone


def _read_timedelta(payload: Any) -> timedelta:
    days, seconds, microseconds = payload
    return timedelta(_whole(days), _whole(seconds), _whole(microseconds))


# --- paths ---------------------------------------------------------------------------------------


def _path_leaf(tag: str, kind: type[pathlib.PurePath]) -> Leaf:
    def read(payload: Any) -> pathlib.PurePath:
        if issubclass(kind, pathlib.Path) and not isinstance(pathlib.Path(), kind):
            raise Refusal(
                f"is a {kind.__name__}, which this operating system does not have. "
                "Keep pure paths in contexts that travel between systems."
            )
        return kind(_text(payload))

    return Leaf(tag=tag, write=lambda path: write_str(str(path)), read=read)


LEAVES: dict[type, Leaf] = {
    bytes: Leaf(
        tag="$bytes",
        write=lambda value: base64.b64encode(value).decode("ascii"),
        read=_read_bytes,
    ),
    bytearray: Leaf(
        tag="$bytearray",
        write=lambda value: base64.b64encode(value).decode("ascii"),
        read=lambda payload: bytearray(_read_bytes(payload)),
    ),
    Decimal: Leaf(tag="$decimal", write=str, read=lambda payload: Decimal(_text(payload))),
    Fraction: Leaf(
        tag="$fraction",
        write=lambda value: [write_int(value.numerator), write_int(value.denominator)],
        read=_read_fraction,
    ),
    complex: Leaf(
        tag="$complex",
        write=lambda value: [write_float(value.real), write_float(value.imag)],
        read=_read_complex,
    ),
    range: Leaf(
        tag="$range",
        write=lambda value: [write_int(value.start), write_int(value.stop), write_int(value.step)],
        read=_read_range,
    ),
    UUID: Leaf(tag="$uuid", write=str, read=lambda payload: UUID(_text(payload))),
    date: Leaf(
        tag="$date",
        write=lambda value: value.isoformat(),
        read=lambda payload: date.fromisoformat(_text(payload)),
    ),
    time: Leaf(tag="$time", write=_write_moment, read=_read_time),
    datetime: Leaf(tag="$datetime", write=_write_moment, read=_read_datetime),
    timedelta: Leaf(
        tag="$timedelta",
        write=lambda value: [value.days, value.seconds, value.microseconds],
        read=_read_timedelta,
    ),
    timezone: Leaf(tag="$timezone", write=_write_zone, read=_read_fixed_offset),
    zoneinfo.ZoneInfo: Leaf(
        tag="$zone", write=_write_zone, read=lambda payload: _zone(_text(payload))
    ),
    pathlib.PosixPath: _path_leaf("$posix_path", pathlib.PosixPath),
    pathlib.WindowsPath: _path_leaf("$windows_path", pathlib.WindowsPath),
    pathlib.PurePosixPath: _path_leaf("$pure_posix_path", pathlib.PurePosixPath),
    pathlib.PureWindowsPath: _path_leaf("$pure_windows_path", pathlib.PureWindowsPath),
}
"""Every type without items that needs a tag."""
