"""Server-sent events, as browsers' EventSource reads them."""

from __future__ import annotations

import json
from typing import Any

from django.http import StreamingHttpResponse

CONTENT_TYPE = "text/event-stream"

STILL_THERE = b": still there\n\n"
"""A comment, which no reader sees; it keeps the connection open, and finds out who left."""


def event(data: Any, *, name: str = "", id: str = "") -> bytes:
    """One event. `data` is sent as JSON; `id` comes back when its reader connects anew."""
    lines = [f"id: {id}"] if id else []
    lines += [f"event: {name}"] if name else []
    lines.append(f"data: {json.dumps(data, allow_nan=False)}")
    return ("\n".join(lines) + "\n\n").encode()


def retry(seconds: float) -> bytes:
    """How long readers wait before they connect anew."""
    return f"retry: {round(seconds * 1000)}\n\n".encode()


def response(content: Any, content_type: str = CONTENT_TYPE) -> StreamingHttpResponse:
    """A response that is sent as it comes into being, and kept by nobody on its way."""
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        # nginx would wait for the end.
        "X-Accel-Buffering": "no",
    }
    return StreamingHttpResponse(content, content_type=content_type, headers=headers)
