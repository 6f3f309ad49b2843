"""A thread that waits keeps no connection of ours open, unless somebody is in the middle of it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import connections, transaction

from fluxio_django.tables import let_go


def test_who_waits_lets_go_of_his_connections(database: str) -> None:
    assert not Group.objects.using(database).exists()
    assert connections[database].connection is not None
    let_go()
    assert connections[database].connection is None


def test_who_waits_in_a_transaction_keeps_what_he_has_written(database: str) -> None:
    with transaction.atomic(using=database):
        Group.objects.using(database).create(name="under way")
        let_go()
    assert Group.objects.using(database).filter(name="under way").exists()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_transaction_on_one_database_keeps_no_other_connection_open() -> None:
    assert not Group.objects.using("postgres").exists()
    with transaction.atomic(using="default"):
        let_go()
        assert connections["default"].connection is not None
        assert connections["postgres"].connection is None
