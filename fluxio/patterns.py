"""What the keys are called whose values nobody is shown."""

from __future__ import annotations

DEFAULT_PATTERNS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "access_key",
    "private_key",
    "authorization",
    "credential",
    "cookie",
)
"""Parts of keys whose values are hidden, unless the project says otherwise."""
