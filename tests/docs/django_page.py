"""Runs the snippets of a page in a Django project of its own, with an empty SQLite database.

Started as `python django_page.py MODULE`, in an empty folder. What the page says of FLUXIO has to
be understood by the app.
"""

import runpy
import sys

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "fluxio_django",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "page.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SECRET_KEY="for this page only",
    USE_TZ=True,
)
django.setup()
call_command("migrate", verbosity=0)

said = runpy.run_path(sys.argv[1], run_name="__main__").get("FLUXIO")
if said is not None:
    from django.test import override_settings

    from fluxio_django.conf import problems

    with override_settings(FLUXIO=said):
        assert not problems(), problems()
