"""What the admin's tests share: a shop, people with rights, and a way to confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from fluxio_django.journal import forget_noted_versions
from tests.app.admin.desk import Confirm, SignIn
from tests.app.admin.shop import Shop, open_shop


@pytest.fixture
def shop(db: None) -> Iterator[Shop]:
    with open_shop() as opened:
        yield opened
    # What ran on commit is rolled back with the test after all.
    forget_noted_versions()


@pytest.fixture(autouse=True)
def _work_is_done_at_once(settings: Any) -> None:
    settings.FLUXIO = {"DISPATCHER": "eager"}


@pytest.fixture
def sign_in(db: None) -> SignIn:
    """Give the browser of a new person who holds these rights on our models."""
    numbers = count(1)

    def sign_in(*rights: str, superuser: bool = False, staff: bool = True) -> Client:
        user = User.objects.create_user(
            f"person{next(numbers)}", password="x", is_staff=staff, is_superuser=superuser
        )
        wanted = Permission.objects.filter(content_type__app_label="fluxio_django")
        user.user_permissions.set(wanted.filter(codename__in=rights))
        assert user.user_permissions.count() == len(rights)
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def root(sign_in: SignIn) -> Client:
    return sign_in(superuser=True)


@pytest.fixture
def confirm(django_capture_on_commit_callbacks: Callable[..., Any]) -> Confirm:
    return Confirm(django_capture_on_commit_callbacks)
