"""The ASGI and the WSGI application that the tests of servers have served."""

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

asgi, wsgi = get_asgi_application(), get_wsgi_application()

from fluxio_django.registry import pipelines  # noqa: E402
from tests.app.views.shop import OPEN, checkout  # noqa: E402

pipelines.add(OPEN, checkout)
