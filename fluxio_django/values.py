"""How values of a context are shown: as JSON for scripts, as one short text for people.

What FLUXIO["REDACT"] hides is masked here as well: also where it only shows once it is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fluxio.codec import DEFAULT_CODEC
from fluxio.codec.secret import MASK
from fluxio.errors import EncodingError
from fluxio_django.redaction import redaction, shown_value, shown_values

JSON_RULE = (
    "Values that JSON lacks are written as the checkpoint codec writes them: an object with one "
    'key, the tag, as in {"$decimal": "1.20"}; keys of your own that start with $ get a second '
    'one. Secrets are masked, and a value that has no stored form is {"$unstorable": "its type"}.'
)
"""Said in the help of every command with --json that shows values."""

_MARK = "$"
_LONGEST = 1_000


def json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them; see `JSON_RULE`."""
    return {
        _MARK + key if key.startswith(_MARK) else key: json_value(value)
        for key, value in shown_values(values).items()
    }


def json_value(value: Any) -> Any:
    """One value as JSON has it; see `JSON_RULE`."""
    try:
        text = DEFAULT_CODEC.encode_value(value)
    except EncodingError:
        kind = type(value)
        return {"$unstorable": f"{kind.__module__}.{kind.__qualname__}"}
    return _masked(json.loads(text))


def short(value: Any) -> str:
    """One value as Python writes it, at most 1,000 characters of it."""
    try:
        text = repr(shown_value(value))
    except Exception:  # noqa: BLE001 - a value of the user's that cannot be shown is no reason to stop
        return f"<{type(value).__qualname__} that cannot be shown>"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _masked(plain: Any) -> Any:
    """JSON values without what Secrets and hidden keys hold, wherever the codec met one."""
    if isinstance(plain, list):
        return [_masked(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if plain.keys() == {"$secret"}:
        return {"$secret": MASK}
    hides = redaction().hides
    return {
        key: {"$secret": MASK} if item is not None and hides(key) else _masked(item)
        for key, item in plain.items()
    }
