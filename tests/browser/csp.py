"""The strict policy that pages are shown under in the browser's tests."""

from __future__ import annotations

from collections.abc import Callable

import django
from django.http import HttpRequest, HttpResponse

POLICY = "default-src 'self'"

SECURE_CSP = {"default-src": ["'self'"]}
"""The same for Django 6, which has a setting and a middleware of its own for it."""

MIDDLEWARE = [
    "tests.browser.csp.without_icon",
    "django.middleware.csp.ContentSecurityPolicyMiddleware"
    if django.VERSION >= (6, 0)
    else "tests.browser.csp.strict",
]


def strict(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """A middleware that forbids inline scripts and styles, and whatever comes from elsewhere."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


def without_icon(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """A middleware that says there is no icon; Chromium asks for one by itself."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path == "/favicon.ico":
            return HttpResponse(status=204)
        return get_response(request)

    return middleware
