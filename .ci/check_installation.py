"""Installs a wheel beside Django and nothing else, and uses what is there."""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

LOOK = """
import importlib, pkgutil, sys
import django
from django.conf import settings

apps = ["admin", "auth", "contenttypes", "sessions", "messages"]
settings.configure(
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "fluxio_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SECRET_KEY="for this check only",
    SILENCED_SYSTEM_CHECKS=["fluxio.W002"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    USE_TZ=True,
)
django.setup()
problems = []

import fluxio, fluxio_django
for package in (fluxio, fluxio_django):
    for name in package.__all__:
        try:
            getattr(package, name)
        except ImportError as problem:
            if "pip install" not in str(problem):
                problems.append(f"{package.__name__}.{name}: {problem}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            importlib.import_module(module.name)
        except ImportError as problem:
            if "pip install" not in str(problem) and problem.name not in EXTRAS:
                problems.append(f"{module.name}: {problem}")

from django.core.management import call_command
from django.template.loader import get_template

call_command("check", tags=["fluxio"], fail_level="WARNING", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
call_command("migrate", verbosity=0)
get_template("admin/fluxio_django/run/change_form.html")

@fluxio.stage(transactional=True)
def greet(ctx):
    return ctx.set("greeting", f"hello {ctx['name']}")

fluxio_django.register("installed.greet", fluxio.Pipeline([greet], durable=True))
final = fluxio_django.pipelines["installed.greet"].invoke_sync({"name": "you"}, run_id="r")
if fluxio_django.pipelines["installed.greet"].resume_sync("r")["greeting"] != "hello you":
    problems.append("a finished run did not give its result")

print(*problems, sep="\\n")
sys.exit(len(problems) > 0)
"""

# Names of packages that only an extra brings.
EXTRAS = (
    "celery",
    "cryptography",
    "django.tasks",
    "django_redis",
    "langfuse",
    "opentelemetry",
    "psycopg",
    "pydantic",
    "pytest",
    "redis",
    "rich",
)


def main(wheel: Path) -> int:
    """Say what does not work with Django alone."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin/python")
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "Django>=5.2,<6.2"], check=True)
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
        code = f"EXTRAS = {EXTRAS!r}\n{LOOK}"
        # In another folder, so that nothing but what was installed can be imported.
        done = subprocess.run([python, "-W", "error", "-c", code], cwd=folder, check=False)
    if done.returncode == 0:
        print(f"{wheel.name} works with Django alone")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
