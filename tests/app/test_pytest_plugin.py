"""Coroutine tests run, and they run where the test's own connection and transaction are."""

import asyncio
import subprocess
import sys
import threading

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

pytest_plugins = ["pytester"]

tried: list[int] = []


async def test_a_coroutine_test_is_given_its_fixtures(tmp_path_factory: object) -> None:
    await asyncio.sleep(0)
    assert tmp_path_factory


@pytest.fixture
def group(db: None) -> Group:
    return Group.objects.create(name="visible to the transaction of the test alone")


async def test_a_coroutine_test_works_inside_the_transaction_of_the_test(group: Group) -> None:
    assert await Group.objects.aget() == group
    await Group.objects.acreate(name="undone with the rest")
    assert await sync_to_async(lambda: connection.in_atomic_block)()
    assert await sync_to_async(threading.current_thread)() is threading.main_thread()


class TestMethods:
    @pytest.mark.parametrize("number", [1, 2])
    async def test_a_coroutine_method_gets_its_parameters(self, number: int) -> None:
        await asyncio.sleep(0)
        assert number in {1, 2}


@given(st.integers())
async def test_a_property_may_be_a_coroutine(number: int) -> None:
    await asyncio.sleep(0)
    tried.append(number)


def test_a_property_that_is_a_coroutine_is_tried_on_many_examples() -> None:
    test_a_property_may_be_a_coroutine()
    assert len(set(tried)) > 10


def test_a_coroutine_test_that_fails_is_reported_as_failed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        from hypothesis import given, strategies

        async def test_with_a_wrong_end():
            await asyncio.sleep(0)
            assert 1 == 2

        @given(strategies.integers())
        async def test_with_a_counterexample(number):
            await asyncio.sleep(0)
            assert number < 1000
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:django")
    outcome.assert_outcomes(failed=2)
    outcome.stdout.fnmatch_lines(["*assert 1 == 2*", "*assert 1000 < 1000*"])


@pytest.mark.parametrize("marker", ["asyncio", "anyio", "trio"])
def test_a_coroutine_test_marked_for_another_plugin_is_left_to_it(
    pytester: pytest.Pytester, marker: str
) -> None:
    pytester.makepyfile(
        other_plugin="""
        def pytest_configure(config):
            for marker in ("asyncio", "anyio", "trio"):
                config.addinivalue_line("markers", marker)
        """,
        test_marked=f"""
        import pytest

        @pytest.mark.{marker}
        async def test_not_ours():
            raise AssertionError("it ran all the same")
        """,
    )
    plugins = ["-p", "no:django", "-p", "no:anyio", "-p", "other_plugin"]
    outcome = pytester.runpytest_subprocess(*plugins)
    outcome.stdout.no_fnmatch_line("*it ran all the same*")
    outcome.assert_outcomes(failed=1)


def test_the_plugin_loads_nothing_of_django() -> None:
    code = "import sys, fluxio_django.pytest_plugin; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_django_coroutines_run_and_the_clock_moves(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        no_django="""
        import sys

        class NotInstalled:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("django", "asgiref", "pytest_django"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, NotInstalled())
        """,
        test_plain="""
        import sys
        from fluxio import Pipeline, RetryPolicy, stage

        tries = []

        @stage(retry=RetryPolicy(max_attempts=2, backoff="fixed", base_delay=3600))
        async def flaky(ctx):
            tries.append(1)
            if len(tries) == 1:
                raise ConnectionError
            return ctx.set("done", True)

        async def test_an_hour_passes_at_once(fluxio_clock):
            final = await Pipeline([flaky], durable=True).invoke({})
            assert final["done"]
            assert fluxio_clock.monotonic() == 3600
            assert "django" not in sys.modules
        """,
    )
    outcome = pytester.runpytest_subprocess("-p", "no_django", "-p", "no:django")
    outcome.assert_outcomes(passed=1)


def test_a_test_that_wants_inline_runs_without_pytest_django_is_told(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("def test_orders(fluxio_inline): pass")
    outcome = pytester.runpytest_subprocess("-p", "no:django")
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines(["*fixture 'db' not found*"])
