"""How a run id stands in an address: whole, in one part of the path."""

from __future__ import annotations


class RunIDConverter:
    """Run ids in paths; a slash is written ~1 and a tilde ~0, as in JSON pointers (RFC 6901)."""

    regex = "[^/]{1,400}"

    def to_python(self, value: str) -> str:
        """The run id in a part of a path."""
        return value.replace("~1", "/").replace("~0", "~")

    def to_url(self, value: str) -> str:
        """The part of a path for a run id."""
        return value.replace("~", "~0").replace("/", "~1")
