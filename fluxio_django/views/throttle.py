"""How often one user may have runs executed: counted in Django's cache, over all processes."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from http import HTTPStatus

from django.core.cache import cache

from fluxio_django.conf import settings
from fluxio_django.rates import Rate
from fluxio_django.views.problems import Problem

Clock = Callable[[], float]


def count_start(who: str, clock: Clock = time.time) -> None:
    """Count a start of a user, known by a key, against FLUXIO["START_RATE"].

    Time is cut into windows of the rate's length, each with a counter of its own.

    Raises:
        Problem: there were too many in this window; its Retry-After says when the next begins.
    """
    rate, now = Rate.parse(settings().start_rate), clock()
    window = math.floor(now / rate.seconds)
    # A cache may refuse some characters in its keys.
    digest = hashlib.sha256(who.encode()).hexdigest()
    if _counted(f"fluxio:starts:{digest}:{window}", rate.seconds) > rate.count:
        wait = max(1, math.ceil((window + 1) * rate.seconds - now))
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many",
            f"You may start {settings().start_rate}. Try again in {wait} s.",
            {"Retry-After": str(wait)},
        )


def _counted(key: str, seconds: float) -> int:
    # Kept a little longer than the window, since clocks of processes differ.
    cache.add(key, 0, timeout=math.ceil(seconds) + 60)
    try:
        return int(cache.incr(key))
    except ValueError:  # evicted in between, or a cache that keeps nothing
        return 1
