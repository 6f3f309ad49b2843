"""Views that are loaded when somebody first asks for one, and not while Django starts."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

View = Callable[[HttpRequest], HttpResponse]


def opened(path: str, *parts: object) -> View:
    """A view for `get_urls`, which Django calls whenever a project starts or is checked.

    `path` is the dotted name of what makes the view, given the `parts`. It is looked up at each
    request, and the view made anew, so that threads share nothing; only the first request finds a
    module that has yet to be loaded.
    """

    def view(request: HttpRequest) -> HttpResponse:
        made: View = import_string(path)(*parts)
        return made(request)

    return view
