"""How many streams are open in this process, altogether and for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from http import HTTPStatus
from threading import Lock

from fluxio_django.conf import settings
from fluxio_django.views.problems import Problem

MOST_STREAMS = 2_000


class Slots:
    """Counts streams. What is counted is this process, since that is what they weigh on."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._taken: Counter[Hashable] = Counter()
        self._lock = Lock()

    def take(self, user: Hashable) -> Callable[[], None]:
        """Count a stream of a user; calling what this returns ends it, once.

        Raises:
            Problem: there are too many already.
        """
        with self._lock:
            if self._taken[user] >= settings().streams_per_user:
                raise _too_many("You have too many streams open. Close one.")
            if self._taken.total() >= self._most:
                raise _too_many("This server has too many streams open.")
            self._taken[user] += 1
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            with self._lock:
                if not given_back:
                    given_back = True
                    self._taken[user] -= 1
                    self._taken += Counter()  # forgets whoever has none

        return give_back

    def __len__(self) -> int:
        return self._taken.total()


slots = Slots()


def _too_many(detail: str) -> Problem:
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many", detail, {"Retry-After": "10"})
