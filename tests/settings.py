"""The Django project the tests run in: SQLite always, PostgreSQL and MariaDB where they answer."""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import django

from tests.needs import BROWSER, MARIADB, POSTGRESQL, RABBITMQ, REDIS, connection_settings

# One name per test run keeps runs at the same time apart. The processes a test starts inherit it;
# that each database has its test name from the start is what lets them open the same ones.
# The processes among which pytest-xdist shares the tests have one each.
TEST_RUN = os.environ.setdefault("FLUXIO_TEST_RUN", secrets.token_hex(4))
TEST_RUN += os.environ.get("PYTEST_XDIST_WORKER", "")
TEST_DATABASE = f"fluxio_test_{TEST_RUN}"

SECRET_KEY = "for tests only, and known to everybody"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if django.VERSION >= (6, 1):  # without it, each mail is a warning there
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
# Tests sign in by the hundred; the default hasher is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

REDIS_URL = REDIS.location
RABBITMQ_URL = RABBITMQ.location
CHROMIUM = BROWSER.location

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "fluxio_django",
    "example_project.orders",
    "example_project.imports",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# A file, not memory: several threads and processes use it at once, as they do in real projects.
SQLITE_FILE = str(Path(tempfile.gettempdir()) / f"{TEST_DATABASE}.sqlite3")

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": SQLITE_FILE,
        "TEST": {"NAME": SQLITE_FILE},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}

if not POSTGRESQL.problem():
    DATABASES["postgres"] = {
        **connection_settings(POSTGRESQL.location),
        "ENGINE": "django.db.backends.postgresql",
        "NAME": TEST_DATABASE,
        "TEST": {
            "NAME": TEST_DATABASE,
            "CHARSET": "UTF8",
            "TEMPLATE": "template0",
            "DEPENDENCIES": [],
        },
    }

if not MARIADB.problem():
    # The server's default collation stays: what must be compared bytewise has to say so itself.
    DATABASES["mariadb"] = {
        **connection_settings(MARIADB.location),
        "ENGINE": "django.db.backends.mysql",
        "NAME": TEST_DATABASE,
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"NAME": TEST_DATABASE, "CHARSET": "utf8mb4", "DEPENDENCIES": []},
    }
