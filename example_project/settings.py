"""The settings of the example project: SQLite in a folder of its own, or what DATABASE_URL says."""

import os
from pathlib import Path

import django

from example_project.database_url import database_from

BASE_DIR = Path(__file__).resolve().parent.parent
# Everything the project makes while it runs, in a folder that keeps itself out of git.
DATA_DIR = Path(os.environ.get("EXAMPLE_DATA_DIR", BASE_DIR / ".demo"))
DATA_DIR.mkdir(exist_ok=True)
if not (DATA_DIR / ".gitignore").exists():
    (DATA_DIR / ".gitignore").write_text("*\n")

DEBUG = os.environ.get("DEBUG", "0") not in ("", "0")
# Only this machine can reach what `make serve` serves; a real project keeps its key secret.
SECRET_KEY = os.environ.get("SECRET_KEY", "known to everybody, and for the demo only")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

DATABASES = {
    "default": database_from(
        os.environ.get("DATABASE_URL", f"sqlite:///{DATA_DIR / 'example.sqlite3'}")
    ),
}
# `serve_demo` hands out a superuser, and does so nowhere else.
IS_DEMO = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# One process serves this example, so the cache of that process is all it needs.
SILENCED_SYSTEM_CHECKS = ["fluxio.W012"]

# Without a broker, threads of the process that enqueues a run execute it.
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL")
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("CELERY_QUEUE", "example")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_DB_REUSE_MAX = 1000  # so many tasks share a connection to the database
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "global_keyprefix": os.environ.get("CELERY_KEY_PREFIX", ""),
}

FLUXIO = {
    "DISPATCHER": "celery" if CELERY_BROKER_URL else "inline",
    "LEASE_SECONDS": float(os.environ.get("LEASE_SECONDS", "30")),
    "SWEEP_SECONDS": float(os.environ.get("SWEEP_SECONDS", "10")),
    "VIEWS": {
        "orders.checkout": {"SHOWS": ["handling", "total"]},
        "imports.airports": {"START": "imports.add_sourcefile", "SHOWS": ["summary"]},
    },
}

INSTALLED_APPS = [
    "example_project.demo",
    "example_project.imports",
    "example_project.orders",
    "fluxio_django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
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

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
WSGI_APPLICATION = "example_project.wsgi.application"
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

_TO_FILES = "django.core.mail.backends.filebased.EmailBackend"
_SENT_MAIL = DATA_DIR / "sent-mail"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _TO_FILES, "OPTIONS": {"file_path": _SENT_MAIL}}}
else:
    EMAIL_BACKEND = _TO_FILES
    EMAIL_FILE_PATH = _SENT_MAIL
DEFAULT_FROM_EMAIL = "shop@example.com"

CSRF_FAILURE_VIEW = "fluxio_django.views.csrf_failure"
SESSION_COOKIE_SAMESITE = "Strict"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    # A page that is not there is no news.
    "loggers": {"django.request": {"level": "ERROR"}},
}
