"""What surrounds the core is set up once, at its first use, and before anybody goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fluxio import surroundings
from fluxio.surroundings import set_up, set_up_at_first_use


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    set_up()
    yield
    surroundings._waiting.clear()


def test_what_waits_is_done_once() -> None:
    done: list[str] = []
    set_up_at_first_use(lambda: done.append("ports"))
    assert done == []
    set_up()
    set_up()
    assert done == ["ports"]


def test_what_is_set_up_may_use_the_core_itself() -> None:
    done: list[str] = []

    def ports() -> None:
        set_up()
        done.append("ports")

    set_up_at_first_use(ports)
    set_up()
    assert done == ["ports"]


def test_what_failed_is_tried_again_at_the_next_use() -> None:
    done: list[str] = []

    def ports() -> None:
        done.append("ports")
        if len(done) == 1:
            raise LookupError

    set_up_at_first_use(ports)
    with pytest.raises(LookupError):
        set_up()
    set_up()
    assert done == ["ports", "ports"]


def test_other_threads_wait_until_all_of_it_is_done() -> None:
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def ports() -> None:
        begun.set()
        may_end.wait()
        done.append("ports")

    def use() -> None:
        set_up()
        done.append("used")

    set_up_at_first_use(ports)
    first = threading.Thread(target=set_up)
    first.start()
    begun.wait()
    second = threading.Thread(target=use)
    second.start()
    may_end.set()
    for thread in (first, second):
        thread.join()
    assert done == ["ports", "used"]
