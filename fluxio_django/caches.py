"""Django's cache as the place for results of stages, and for what breakers and limits agree on."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache

from fluxio.codec.keyring import Keyring, UnreadableError
from fluxio.errors import ConfigurationError, FluxioError
from fluxio.runtime.cache import CacheStore
from fluxio.runtime.middleware.circuit_breaker import CLOSED, BreakerState
from fluxio.runtime.middleware.rate_limit import Pace, Slot
from fluxio_django.tables import hop

Result = TypeVar("Result")

_LONGEST_WAIT = 1.0
_LOCK_SECONDS = 5
_STATE_SECONDS = 86_400


class CacheBusyError(FluxioError):
    """Others kept a state in the cache locked for too long; it is only a hint."""


class DjangoCacheStore(CacheStore):
    """Keeps what `CacheMiddleware` remembers in one of Django's caches, shared by all workers.

    What goes into the cache is text, encrypted by AES-256-GCM under a key made from SECRET_KEY, so
    that whoever can read the cache learns nothing, and what somebody else put there is a miss. A
    cache that pickles what it is given pickles that text and nothing else; take one that does not,
    such as django-redis with its JSON serializer, where others can write to it.

    Args:
        alias: a cache in CACHES.
        keyring: other keys than those made from SECRET_KEY and SECRET_KEY_FALLBACKS.
        encrypt: False signs the texts only, which then can be read; needs no extra.

    Raises:
        ConfigurationError: there is no such cache, or the extra `crypto` is missing.
    """

    def __init__(
        self, alias: str = "default", *, keyring: Keyring | None = None, encrypt: bool = True
    ) -> None:
        self._alias = alias
        self._given = keyring
        self._encrypt = encrypt

    async def get(self, key: str) -> str | None:
        """The text kept under this key, None where there is none, or one that is not ours."""
        sealed = await hop(lambda: _cache(self._alias).get(key))
        if not isinstance(sealed, str):
            return None
        try:
            return self._keyring.open(sealed, key.encode())
        except UnreadableError:
            return None

    async def set(self, key: str, value: str, ttl: float | None = None) -> None:
        """Keep a text for `ttl` seconds; None keeps it for as long as the cache does."""
        sealed = self._keyring.seal(value, key.encode())
        await hop(lambda: _cache(self._alias).set(key, sealed, timeout=ttl))

    async def delete(self, key: str) -> None:
        """Forget a key; unknown ones are fine."""
        await hop(lambda: _cache(self._alias).delete(key))

    @cached_property
    def _keyring(self) -> Keyring:
        if self._given is not None:
            return self._given
        sources = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        made = [hashlib.sha256(b"fluxio cache " + str(one).encode()).digest() for one in sources]
        keys = {hashlib.sha256(key).hexdigest()[:8]: key for key in made}
        return Keyring(keys=keys, encrypt=self._encrypt)


class DjangoBreakerBackend:
    """The states of `CircuitBreakerMiddleware` in one of Django's caches: all trip together.

    `alias` is a cache in CACHES whose `add` is atomic: Redis, Memcached and the database are, files
    are not. Workers tell the time of day; what they disagree on shifts a recovery by as much.
    """

    def __init__(self, alias: str = "default") -> None:
        self._states = _States(alias, "breaker")

    async def load(self, key: str) -> BreakerState:
        """The state kept under this key, closed where there is none."""
        return _breaker_state(await hop(self._states.read, key))

    async def swap(self, key: str, expected: BreakerState, state: BreakerState) -> bool:
        """Keep `state` if the key still has `expected`, atomically; say whether it had."""

        def change(found: Any) -> tuple[Any, bool]:
            if _breaker_state(found) != expected:
                return found, False
            return (None if state == CLOSED else asdict(state)), True

        return await hop(self._states.change, key, change)


class DjangoRateLimitBackend:
    """The lines of `RateLimitMiddleware` in one of Django's caches: one limit for all workers.

    `alias` is as for `DjangoBreakerBackend`. The algorithm is that of `InMemoryRateLimitBackend`; a
    slot that is not used can only be given back while it is the last one.
    """

    def __init__(self, alias: str = "default", *, now: Callable[[], float] = time.time) -> None:
        self._states = _States(alias, "rate")
        self._now = now

    async def reserve(self, key: str, pace: Pace) -> Slot:
        """Take the next free slot of the line with this key, atomically."""

        def change(found: Any) -> tuple[Any, Slot]:
            now = self._now()
            due = float(found) if isinstance(found, int | float) else 0.0
            arrival = max(due, now)
            wait = max(0.0, arrival - (pace.burst - 1) * pace.interval - now)
            slot = Slot(wait=wait, before=due, after=arrival + pace.interval)
            return slot.after, slot

        return await hop(self._states.change, key, change)

    async def give_back(self, key: str, slot: Slot) -> None:
        """Free a slot that was not used, where nobody stands behind it."""

        def change(found: Any) -> tuple[Any, None]:
            return (slot.before if found == slot.after else found), None

        await hop(self._states.change, key, change)


class _States:
    """Small JSON values in a cache, which are changed by one at a time."""

    def __init__(self, alias: str, kind: str) -> None:
        self._alias = alias
        self._kind = kind

    def read(self, key: str) -> Any:
        """The value, None where there is none; blocks."""
        text = _cache(self._alias).get(self._name(key))
        try:
            return json.loads(text) if isinstance(text, str) else None
        except ValueError:
            return None

    def change(self, key: str, change: Callable[[Any], tuple[Any, Result]]) -> Result:
        """Put a value in place of the one that is there; blocks.

        Raises:
            CacheBusyError: others kept it locked.
        """
        name, cache = self._name(key), _cache(self._alias)
        with _locked(cache, f"{name}:lock"):
            found = self.read(key)
            value, result = change(found)
            if value is None:
                cache.delete(name)
            elif value != found:
                cache.set(name, json.dumps(value), timeout=_STATE_SECONDS)
        return result

    def _name(self, key: str) -> str:
        # Memcached takes neither spaces nor long keys.
        return f"fluxio:{self._kind}:{hashlib.sha256(key.encode()).hexdigest()}"


@contextmanager
def _locked(cache: BaseCache, name: str) -> Iterator[None]:
    """Hold a lock that falls open by itself should this process die."""
    ours, deadline = secrets.token_hex(8), time.monotonic() + _LONGEST_WAIT
    while not cache.add(name, ours, timeout=_LOCK_SECONDS):
        if time.monotonic() > deadline:
            raise CacheBusyError(f"{name} in the cache stayed locked for {_LONGEST_WAIT:g} s.")
        time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311
    try:
        yield
    finally:
        if cache.get(name) == ours:
            cache.delete(name)


def _breaker_state(found: Any) -> BreakerState:
    try:
        return CLOSED if found is None else BreakerState(**found)
    except TypeError:  # of another release, or of somebody else
        return CLOSED


def _cache(alias: str) -> BaseCache:
    try:
        return caches[alias]
    except InvalidCacheBackendError as problem:
        raise ConfigurationError(
            f"There is no cache {alias!r}: {problem} Add it to CACHES."
        ) from None
