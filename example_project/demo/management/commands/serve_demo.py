"""serve_demo: serve the example project on this machine, with something in it to look at."""

import secrets
import socket
from contextlib import suppress
from typing import Any

import uvicorn
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from example_project.asgi import application
from example_project.demo.goods import fill_the_shop

HOST = "127.0.0.1"
USER = "demo"


class Command(BaseCommand):
    """Serves the shop and the admin through ASGI, to this machine only."""

    help = "Serve the example project on this machine, with a superuser and a few orders."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen."""
        parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (8000).")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare the database, say where to look, and serve until Ctrl-C.

        Raises:
            CommandError: these are not the settings of the demo, or the port is taken.
        """
        if not getattr(settings, "IS_DEMO", False):
            raise CommandError(
                "serve_demo makes a superuser: use it with the demo's settings only."
            )
        listener = _listen(options["port"])
        call_command("migrate", verbosity=0, interactive=False)
        fill_the_shop()
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        self.stdout.write(f"The shop:   {address}/")
        self.stdout.write(f"The admin:  {address}/admin/")
        self.stdout.write(f"Log in as {USER} with the password {_new_password()}")
        self.stdout.write("Ctrl-C stops the server.")
        self.stdout.flush()
        _serve(listener)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as problem:
        raise CommandError(
            f"Port {port} cannot be used ({problem}). Choose another: make serve ARGS=--port=8001"
        ) from problem


def _new_password() -> str:
    """A password that is good until the next start; the superuser is made where it is missing."""
    password = secrets.token_urlsafe(9)
    user, _ = get_user_model().objects.get_or_create(
        username=USER, defaults={"is_staff": True, "is_superuser": True}
    )
    user.set_password(password)
    user.save()
    return password


def _serve(listener: socket.socket) -> None:
    config = uvicorn.Config(
        ASGIStaticFilesHandler(application), lifespan="off", log_level="warning", ws="none"
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
