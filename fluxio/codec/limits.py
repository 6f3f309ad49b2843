"""How large and how deep stored values and received JSON may be."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fluxio.errors import ConfigurationError

# The walk and the JSON parser recurse, so the depth has to stay well below the interpreter's stack.
DEEPEST = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one stored text.

    `max_bytes` is the length of the ASCII text in bytes. `max_depth` counts nested containers and
    registered objects, the outermost mapping being the first; 200 at most.

    Raises:
        ConfigurationError: a bound is no positive int, or the depth is above 200.
    """

    max_bytes: int = 10 * 1024 * 1024
    max_depth: int = 100

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputLimits:
    """Bounds of JSON that comes from outside.

    `max_bytes` is measured in UTF-8 and before parsing, `max_depth` counts nested arrays and
    objects (200 at most), `max_nodes` counts values of any kind, `max_digits` the characters of one
    number (640 at most).

    Raises:
        ConfigurationError: a bound is no positive int, or above what is stated here.
    """

    max_bytes: int = 1024 * 1024
    max_depth: int = 50
    max_nodes: int = 100_000
    max_digits: int = 400

    def __post_init__(self) -> None:
        _check(self)
        if self.max_digits > 640:
            # Python never lets the limit of its own int parser be set lower than this.
            raise ConfigurationError("max_digits is 640 at most. Choose a smaller limit.")


def _check(limits: Limits | InputLimits) -> None:
    for field in fields(limits):
        value = getattr(limits, field.name)
        if type(value) is not int or value < 1:
            raise ConfigurationError(
                f"{field.name} must be a positive int, not {value!r}. Choose a limit of 1 or more."
            )
    if limits.max_depth > DEEPEST:
        raise ConfigurationError(
            f"max_depth is {DEEPEST} at most, since values are walked recursively. "
            "Choose a smaller limit."
        )
