"""What goes to a Celery worker, and what it does with it."""

import json
import socket
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

import pytest
import redis
from celery import Celery
from celery import current_app as project
from django.db import connections
from kombu import Queue

from fluxio import Context, Pipeline, stage
from fluxio.types import RunStatus
from fluxio_django import recovery, tasks
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from tests.app.queueing.shop import executed, registered
from tests.needs import RABBITMQ, REDIS

CANARY = "canary-4711-secret"


@pytest.fixture
def celery(database: str, settings: Any) -> Iterator[Celery]:
    """The project's Celery application on a broker in memory; runs are kept in one database."""
    settings.FLUXIO = {
        "DISPATCHER": "celery",
        "DATABASE": database,
        "QUEUES": ["default", "slow"],
    }
    before = project._get_current_object()
    app = Celery("shop", broker="memory://", set_as_current=True)
    for queue in ("celery", "slow"):
        received(app, queue)  # a broker in memory outlives the applications that use it
    yield app
    app.close()
    before.set_current()


@pytest.fixture
def checkout(celery: Celery) -> Iterator[DjangoPipeline]:
    with registered() as pipeline:
        yield pipeline


def received(app: Celery, queue: str = "celery") -> list[tuple[dict[str, Any], str]]:
    """The headers and the text of all messages in a queue, which is empty then."""
    with app.connection_for_read() as connection:
        return taken_from(connection.default_channel, queue)


def taken_from(channel: Any, queue: str) -> list[tuple[dict[str, Any], str]]:
    messages, bound = [], Queue(queue, channel=channel)
    while (message := bound.get(no_ack=True)) is not None:
        messages.append((message.headers, message.body))
    return messages


def test_a_message_carries_the_id_of_the_run_and_nothing_of_its_context(
    celery: Celery, checkout: DjangoPipeline
) -> None:
    checkout.enqueue_sync({"order": 7, "note": CANARY}, "order")
    ((headers, body),) = received(celery)
    arguments, named, options = json.loads(body)
    assert (headers["task"], arguments, named) == (tasks.EXECUTE, ["order"], {})
    assert headers["ignore_result"] is True
    assert CANARY not in repr((headers, body, options))


def leave_nothing(connection: Any, queues: tuple[str, ...], exchanges: tuple[str, ...]) -> None:
    """Delete them from the broker; a channel on which something failed is closed by then."""
    with connection.channel() as channel:
        for queue in queues:
            channel.queue_delete(queue)
        for exchange in exchanges:
            channel.exchange_delete(exchange)


@pytest.mark.rabbitmq
@pytest.mark.django_db(transaction=True)
def test_nothing_of_a_context_is_in_the_queues_of_rabbitmq_or_in_events(settings: Any) -> None:
    settings.FLUXIO = {"DISPATCHER": "celery"}
    before, name = project._get_current_object(), f"fluxio-test-{token_hex(6)}"
    app = Celery("shop", broker=RABBITMQ.location, set_as_current=True)
    app.conf.update(task_default_queue=name, task_send_sent_event=True)
    app.conf.event_exchange = f"{name}-events"
    # What has been sent is in its queue when the call returns.
    app.conf.broker_transport_options = {"confirm_publish": True}
    try:
        with app.connection_for_read() as connection, registered() as checkout:
            channel = connection.default_channel
            events = app.events.Receiver(connection, node_id=name).queue(channel)
            try:
                events.declare()
                app.amqp.queues[name](channel).declare()
                checkout.enqueue_sync({"order": 7, "note": CANARY}, "order")
                ((_, event),) = taken_from(channel, events.name)
                ((headers, body),) = taken_from(channel, name)
            finally:
                leave_nothing(connection, (name, events.name), (name, app.conf.event_exchange))
    finally:
        app.close()
        before.set_current()
    assert json.loads(event)["args"] == "['order']"
    assert json.loads(body)[0] == ["order"]
    assert CANARY not in repr((event, headers, body))


@pytest.mark.redis
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # by Celery
@pytest.mark.parametrize("card", ["good", "refused"])
@pytest.mark.django_db(transaction=True)
def test_nothing_of_a_context_is_in_the_results_that_a_project_keeps(
    settings: Any, card: str
) -> None:
    """Even of a project that keeps the result of every task, and all errors."""
    settings.FLUXIO = {"DISPATCHER": "celery"}
    before, name = project._get_current_object(), f"fluxio-test-{token_hex(6)}"
    app = Celery("shop", broker="memory://", backend=REDIS.location, set_as_current=True)
    app.conf.update(
        result_backend_transport_options={"global_keyprefix": name},
        result_extended=True,
        task_ignore_result=False,
        task_store_errors_even_if_ignored=True,
        task_store_eager_result=True,
    )

    @app.task(name=f"{name}-own")
    def own() -> str:
        return CANARY

    with redis.Redis.from_url(REDIS.location) as server:

        def kept() -> list[bytes]:
            return [server.get(key) for key in server.scan_iter(f"{name}*")]

        try:
            with registered() as checkout:
                given = {"order": 7, "note": CANARY, "card": card}
                handle = checkout.enqueue_sync(given, "order")
                app.tasks[tasks.EXECUTE].apply(args=[handle.run_id])
                assert handle.status().is_open is False
                found = kept()
                own.apply()
            assert any(CANARY.encode() in text for text in kept()), "results are kept, and seen"
            assert not any(CANARY.encode() in text for text in found)
        finally:
            for key in server.scan_iter(f"{name}*"):
                server.delete(key)
            app.close()
            before.set_current()


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:{}/0", "amqp://guest@127.0.0.1:{}//"])
@pytest.mark.django_db(transaction=True)
def test_where_the_broker_is_down_the_run_is_stored_and_nobody_waits(
    broker: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", pauses.append)
    settings.FLUXIO = {"DISPATCHER": "celery"}
    before = project._get_current_object()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    app = Celery("shop", broker=broker.format(closed), set_as_current=True)
    try:
        with registered() as checkout:
            handle = checkout.enqueue_sync({"order": 7}, "order")
    finally:
        app.close()
        before.set_current()
    assert "refused" in handle.problem
    assert handle.status() is RunStatus.QUEUED
    assert pauses == []


def test_other_queues_go_to_the_celery_queue_of_their_name(
    celery: Celery, checkout: DjangoPipeline
) -> None:
    checkout.enqueue_sync({"order": 7}, "order", queue="slow")
    assert len(received(celery, "slow")) == 1
    assert received(celery) == []


def test_a_countdown_is_left_to_the_broker_when_it_is_short_and_to_the_sweep_when_it_is_long(
    celery: Celery, checkout: DjangoPipeline, database: str
) -> None:
    checkout.enqueue_sync({"order": 1}, "soon", countdown=60)
    checkout.enqueue_sync({"order": 2}, "tomorrow", countdown=86_400)
    ((headers, body),) = received(celery)
    assert json.loads(body)[0] == ["soon"]
    assert headers["eta"] is not None
    late = Run.objects.using(database).get(run_id="tomorrow")
    assert late.due_at == late.available_at


def test_the_task_executes_the_run_and_a_duplicate_does_nothing(
    celery: Celery, checkout: DjangoPipeline, database: str
) -> None:
    checkout.enqueue_sync({"order": 7}, "order")
    tasks.execute("order")
    tasks.execute("order")
    assert Run.objects.using(database).get().status == RunStatus.SUCCEEDED
    assert len(executed) == 2


def test_a_message_is_only_done_with_when_the_run_is(celery: Celery) -> None:
    task = celery.tasks[tasks.EXECUTE]
    assert (task.acks_late, task.reject_on_worker_lost) == (True, True)
    assert (task.ignore_result, task.serializer) == (True, "json")


def test_a_stage_that_fails_fails_its_run_and_not_the_task(
    celery: Celery, checkout: DjangoPipeline, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkout.enqueue_sync({"order": 7, "card": "refused"}, "order")
    assert celery.tasks[tasks.EXECUTE].apply(args=["order"]).successful()
    assert Run.objects.using(database).get().status == RunStatus.FAILED
    assert "Run order failed" in caplog.text


def test_the_sweep_that_beat_asks_for_sends_lost_messages_again(
    celery: Celery, checkout: DjangoPipeline, database: str, settings: Any
) -> None:
    settings.FLUXIO = {**settings.FLUXIO, "SWEEP_SECONDS": 7}
    checkout.enqueue_sync({"order": 7}, "order")
    assert len(received(celery)) == 1
    Run.objects.using(database).update(due_at="2000-01-01T00:00:00+00:00")
    (entry,) = tasks.beat_schedule().values()
    assert entry["schedule"] == 7
    celery.tasks[entry["task"]].apply()
    assert len(received(celery)) == 1
    assert recovery.sweep(database) == recovery.Swept()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_connection_that_was_lost_while_its_worker_had_nothing_to_do_reaches_no_stage(
    settings: Any,
) -> None:
    """A worker keeps its connections from one run to the next, also those that only stages use."""
    settings.FLUXIO = {"DISPATCHER": "celery"}
    connection, asked = connections["postgres"], []

    @stage(version="1")
    def ask(ctx: Context) -> Context:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            asked.extend(cursor.fetchall())
        return ctx

    pipelines.add("queueing.ask", lambda: Pipeline([ask], durable=True))
    before = project._get_current_object()
    app = Celery("shop", broker="memory://", set_as_current=True)
    try:
        handle = pipelines["queueing.ask"].enqueue_sync({})
        connection.ensure_connection()
        connection.health_check_enabled = True  # as CONN_HEALTH_CHECKS does
        connection.connection.close()
        app.tasks[tasks.EXECUTE].apply(args=[handle.run_id])
        assert handle.status() == RunStatus.SUCCEEDED
    finally:
        connection.close()
        pipelines.remove("queueing.ask")
        app.close()
        before.set_current()
    assert asked == [(1,)]
