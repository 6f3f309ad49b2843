"""`manage.py check --database` says what is amiss on the servers that keep runs."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from fluxio import RedisStore
from tests.app.checks.found import found


def test_w013_migrations_that_are_not_applied(database: str) -> None:
    recorder = MigrationRecorder(connections[database])
    applied = recorder.applied_migrations()
    newest = max(name for app, name in applied if app == "fluxio_django")
    with override_settings(FLUXIO={"DATABASE": database}):
        recorder.record_unapplied("fluxio_django", newest)
        try:
            message = found(databases=[database])["fluxio.W013"]
        finally:
            recorder.record_applied("fluxio_django", newest)
        assert f"migrate --database {database}" in message.hint
        assert "fluxio.W013" not in found(databases=[database])


@pytest.fixture
def loose() -> Iterator[None]:
    """A column that somebody has converted along with the others."""
    with connections["mariadb"].cursor() as cursor:
        change = "ALTER TABLE fluxio_django_run MODIFY run_id varchar(128) NOT NULL COLLATE {}"
        cursor.execute(change.format("utf8mb4_general_ci"))
        yield
        cursor.execute(change.format("utf8mb4_nopad_bin"))


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_w014_a_column_that_takes_one_run_for_another(loose: None) -> None:
    with override_settings(FLUXIO={"DATABASE": "mariadb"}):
        assert "run_id" in found(databases=["mariadb"])["fluxio.W014"].msg


class Forgetful(RedisStore):
    """A store on a Redis with a policy of the test's choosing."""

    policy = "allkeys-lru"

    def eviction_policy(self) -> str:
        return self.policy


@pytest.mark.django_db(transaction=True)
def test_w015_a_redis_that_throws_runs_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(FLUXIO={"STORE": Forgetful()}):
        assert "allkeys-lru" in found(databases=["default"])["fluxio.W015"].msg
        monkeypatch.setattr(Forgetful, "policy", "noeviction")
        assert "fluxio.W015" not in found(databases=["default"])


@pytest.mark.redis
def test_the_policy_is_what_the_server_says() -> None:
    url = django_settings.REDIS_URL
    said: Any = redis.Redis.from_url(url).config_get("maxmemory-policy")
    assert RedisStore(url=url).eviction_policy() == said["maxmemory-policy"]
