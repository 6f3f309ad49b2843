"""Views over runs: a JSON API that is closed by default, streams, and pages that start a run.

`fluxio_django.urls` is the JSON API; what can be imported from here is for a project's own views.
"""

from fluxio_django.views.access import known_to
from fluxio_django.views.forgery import csrf_failure
from fluxio_django.views.pages import PipelineFormView
from fluxio_django.views.relay import Leaving
from fluxio_django.views.streams import stream_response

__all__ = ["Leaving", "PipelineFormView", "csrf_failure", "known_to", "stream_response"]
