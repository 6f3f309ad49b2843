"""The typed codec: what is stored comes back equal and of the same type, or fails at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio.lazily import names_of

if TYPE_CHECKING:
    from fluxio.codec.envelope import (
        FORMAT_VERSION,
        Sealed,
        Spelling,
        is_plain,
        seal,
        seal_bound,
        unseal,
    )
    from fluxio.codec.json_input import parse_json
    from fluxio.codec.keyring import Keyring
    from fluxio.codec.limits import InputLimits, Limits
    from fluxio.codec.registry import isolated_types, register_type, registered_types
    from fluxio.codec.secret import Secret
    from fluxio.codec.values import DEFAULT_CODEC, Codec

__all__ = [
    "DEFAULT_CODEC",
    "FORMAT_VERSION",
    "Codec",
    "InputLimits",
    "Keyring",
    "Limits",
    "Sealed",
    "Secret",
    "Spelling",
    "is_plain",
    "isolated_types",
    "parse_json",
    "register_type",
    "registered_types",
    "seal",
    "seal_bound",
    "unseal",
]

# Loaded at first use: the settings of a project need a small part of this to be checked.
__getattr__, __dir__ = names_of(
    __name__,
    {
        "fluxio.codec.envelope": (
            "FORMAT_VERSION",
            "Sealed",
            "Spelling",
            "is_plain",
            "seal",
            "seal_bound",
            "unseal",
        ),
        "fluxio.codec.json_input": ("parse_json",),
        "fluxio.codec.keyring": ("Keyring",),
        "fluxio.codec.limits": (
            "InputLimits",
            "Limits",
        ),
        "fluxio.codec.registry": (
            "isolated_types",
            "register_type",
            "registered_types",
        ),
        "fluxio.codec.secret": ("Secret",),
        "fluxio.codec.values": (
            "DEFAULT_CODEC",
            "Codec",
        ),
    },
)
