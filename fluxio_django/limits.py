"""What a pipeline's queued runs are held to: how many, how often, which first, and no twins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fluxio.errors import ConfigurationError, FluxioError
from fluxio_django.rates import Rate, is_rate

LOWEST_PRIORITY, HIGHEST_PRIORITY = -1_000, 1_000


class AtLimitError(FluxioError):
    """A queued run may not be claimed now: its pipeline is at its limit.

    `retry_after` is in seconds; None where it has to wait for another run to end.
    """

    run_id: str
    retry_after: float | None


class DeduplicationError(ConfigurationError):
    """The first values of a run lack `key`, or hold nothing there that can be compared."""

    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the database holds the queued runs of one pipeline to, over all workers.

    `concurrency` is how many may be executed at once; a run that is invoked directly counts, but
    does not wait, and so does one whose worker is gone until it is found that no worker at hand can
    go on with it. `rate` is how often one may start, "10/s", "10/m", "10/h" or "10/d", evenly
    spread: "10/m" lets one start every six seconds. Of runs that wait, those with the highest
    `priority` (-1000 to 1000) come first. While a run is open, no other one is enqueued with the
    same values for the keys in `deduplicate_by`.

    Raises:
        ConfigurationError: one of them is negative, or cannot be understood.
    """

    concurrency: int | None = None
    rate: str | None = None
    priority: int = 0
    deduplicate_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.concurrency is not None and not _is_whole(self.concurrency, 1, 1_000_000):
            raise ConfigurationError(
                f"concurrency={self.concurrency!r} is no limit. Give a whole number above 0, or "
                "None for no limit; to stop a queue, pause it with fluxio_queues."
            )
        if self.rate is not None and not is_rate(self.rate):
            raise ConfigurationError(
                f"rate={self.rate!r} is no rate. Write how many runs may start in what time, e.g. "
                '"10/s", "10/m", "10/h" or "10/d".'
            )
        checked_priority(self.priority)
        keys: Any = self.deduplicate_by
        if isinstance(keys, str) or not all(isinstance(key, str) and key for key in keys):
            raise ConfigurationError(
                f"deduplicate_by={keys!r} is no tuple of context keys. Write it like this: "
                'deduplicate_by=("order_id",).'
            )

    @property
    def interval(self) -> float | None:
        """Seconds that have to pass between two starts, None where any number may start."""
        return None if self.rate is None else Rate.parse(self.rate).interval

    @property
    def gated(self) -> bool:
        """Whether runs have to pass the gate of their pipeline when they are claimed."""
        return self.concurrency is not None or self.rate is not None

    def deduplication_key(self, initial: Mapping[str, Any]) -> str | None:
        """A digest of the values that make two runs the same, None where none are named.

        Raises:
            DeduplicationError: a key is missing, or its value is no text, number, or None.
        """
        if not self.deduplicate_by:
            return None
        values = [_plain(name, initial) for name in self.deduplicate_by]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def checked_priority(priority: int) -> int:
    """The priority itself, when it is one.

    Raises:
        ConfigurationError: it is no whole number from -1000 to 1000.
    """
    if not _is_whole(priority, LOWEST_PRIORITY, HIGHEST_PRIORITY):
        raise ConfigurationError(
            f"priority={priority!r} is none. Give a whole number from {LOWEST_PRIORITY} to "
            f"{HIGHEST_PRIORITY}; runs with a higher one come first."
        )
    return priority


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _plain(name: str, initial: Mapping[str, Any]) -> list[Any]:
    if name not in initial:
        raise DeduplicationError(
            f"The pipeline deduplicates by {name!r}, which the initial context lacks. Enqueue it "
            f"with a value for {name!r}.",
            key=name,
        )
    value = initial[name]
    if value is not None and not isinstance(value, str | int | float):
        raise DeduplicationError(
            f"The pipeline deduplicates by {name!r}, which is {type(value).__name__} here. Use a "
            "key with a text, a number, or None.",
            key=name,
        )
    return [type(value).__name__, value]


NO_LIMITS = Limits()

# By the name of the pipeline; the store asks here when a queued run is claimed.
_limits: dict[str, Limits] = {}


def limits_of(pipeline: str) -> Limits:
    """The limits of a registered pipeline."""
    return _limits.get(pipeline, NO_LIMITS)


def impose(pipeline: str, limits: Limits) -> None:
    """Hold a pipeline's runs to these limits from now on."""
    _limits[pipeline] = limits


def gated_pipelines() -> list[str]:
    """The registered pipelines whose runs have to pass a gate."""
    return [name for name, limits in _limits.items() if limits.gated]
