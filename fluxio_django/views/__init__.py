"""Views over runs: a JSON API that is closed by default, streams, and pages that start a run.

`fluxio_django.urls` is the JSON API; the classes and functions below are for a project's own views.
"""
