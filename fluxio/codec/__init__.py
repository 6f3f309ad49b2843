"""The typed codec: what is stored comes back equal and of the same type, or fails at once."""

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
