"""The same for test classes in the style of unittest."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.test import TestCase

from fluxio import Context, Pipeline, RunStatus, stage
from fluxio_django import register
from fluxio_django.registry import pipelines
from fluxio_django.testing import PipelineTestMixin, arecorded


@stage
def greet(ctx: Context) -> Context:
    Group.objects.get_or_create(name=ctx["name"])
    return ctx.set("greeting", f"hello {ctx['name']}")


class GreetingTests(PipelineTestMixin, TestCase):
    def setUp(self) -> None:
        super().setUp()
        register("testing.greet", Pipeline([greet], durable=True))
        self.addCleanup(pipelines.remove, "testing.greet")

    def test_an_enqueued_run_is_executed_and_recorded(self) -> None:
        handle = pipelines["testing.greet"].enqueue_sync({"name": "Ada"}, "r")
        self.assertEqual(handle.result(timeout=0)["greeting"], "hello Ada")
        self.recorded("r").assert_wrote("greet", greeting="hello Ada")
        self.assertTrue(Group.objects.filter(name="Ada").exists())

    def test_nothing_is_left_of_the_other_tests(self) -> None:
        self.assertEqual(Group.objects.count(), 0)

    def test_the_clock_can_be_moved(self) -> None:
        self.clock.advance(1)
        handle = pipelines["testing.greet"].enqueue_sync({"name": "Ada"}, countdown=60)
        self.clock.advance(61)
        self.inline.sweep()
        self.assertIs(handle.status(), RunStatus.SUCCEEDED)

    def test_every_crash_is_survived(self) -> None:
        survivals = list(self.every_crash(pipelines["testing.greet"], {"name": "Ada"}))
        self.assertEqual(len(survivals), 4)
        self.assertEqual({str(survival.final["greeting"]) for survival in survivals}, {"hello Ada"})

    async def test_coroutines_are_executed_in_the_same_transaction(self) -> None:
        handle = await pipelines["testing.greet"].enqueue({"name": "Ada"}, "r")
        self.assertEqual((await handle.aresult(timeout=0))["greeting"], "hello Ada")
        (await arecorded("r")).assert_steps("greet")
