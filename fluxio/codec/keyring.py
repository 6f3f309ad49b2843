"""The keys that sign or encrypt stored rows, and the rule that a row without them is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxio.errors import ConfigurationError

SHORTEST_KEY = 32
NONCE_BYTES = 12  # what NIST SP 800-38D recommends for GCM

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_SIGNED = re.compile(r"s:([A-Za-z0-9._-]{1,32}):([0-9a-f]{64}):(.*)", re.DOTALL)
_ENCRYPTED = re.compile(r"e:([A-Za-z0-9._-]{1,32}):([A-Za-z0-9+/=]*)")


class UnreadableError(Exception):
    """Inside the codec only: why a sealed text is not opened, in words with the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyring:
    """Secret keys by id. The first one seals; all of them open, so keys can be rotated.

    `keys` maps ids (1 to 32 letters, digits, ``.``, ``_``, ``-``) to at least 32 random bytes each.
    With `encrypt`, rows are sealed by AES-256-GCM (NIST SP 800-38D; the extra `crypto`), else they
    stay readable and are signed by HMAC-SHA256 (RFC 2104). Opening fails closed: a row with less
    protection than the keyring gives is refused, unless `accept_unsealed` lets rows pass that were
    written before there was a keyring. Replace a key before it has sealed 2**32 rows.

    Raises:
        ConfigurationError: no key, an unusable id or key, or the extra is not installed.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    encrypt: bool = True
    accept_unsealed: bool = False
    random_bytes: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError(
                "A keyring needs a key. Give keys={'2026': <32 random bytes>}."
            )
        for key_id, key in self.keys.items():
            if type(key_id) is not str or not _KEY_ID.fullmatch(key_id):
                raise ConfigurationError(
                    f"{key_id!r} cannot be the id of a key. "
                    "Use 1 to 32 letters, digits, dots, hyphens and underscores."
                )
            if type(key) is not bytes or len(key) < SHORTEST_KEY:
                raise ConfigurationError(
                    f"The key {key_id!r} is no bytes of length {SHORTEST_KEY} or more. "
                    f"Make one with secrets.token_bytes({SHORTEST_KEY})."
                )
        object.__setattr__(self, "keys", dict(self.keys))
        if self.encrypt:
            # A missing extra shows now and not at the first checkpoint.
            _cipher(bytes(SHORTEST_KEY))

    def seal(self, body: str, bound: bytes) -> str:
        """The sealed form of `body`, which opens only together with the same `bound` bytes."""
        key_id = next(iter(self.keys))
        if not self.encrypt:
            return f"s:{key_id}:{self._signature(key_id, body, bound)}:{body}"
        nonce = self.random_bytes(NONCE_BYTES)
        sealed = self._cipher(key_id).encrypt(
            nonce, body.encode("ascii"), _associated(key_id, bound)
        )
        return f"e:{key_id}:{base64.b64encode(nonce + sealed).decode('ascii')}"

    def open(self, sealed: str, bound: bytes) -> str:
        """The body of a sealed text.

        Raises:
            UnreadableError: it is not protected as this keyring demands, its key is not here, or it
                was sealed with another key or for another place.
        """
        if encrypted := _ENCRYPTED.fullmatch(sealed):
            return self._decrypt(encrypted[1], encrypted[2], bound)
        if signed := _SIGNED.fullmatch(sealed):
            if self.encrypt and not self.accept_unsealed:
                raise UnreadableError(
                    "it is signed but not encrypted, and the keyring demands encryption. "
                    "Set accept_unsealed=True while older rows are still needed."
                )
            self._demand(signed[1])
            if not hmac.compare_digest(self._signature(signed[1], signed[3], bound), signed[2]):
                raise UnreadableError(_WRONG_KEY.format(signed[1]))
            return signed[3]
        if not sealed.startswith("p:"):
            raise UnreadableError("its seal is damaged. Restore the row from a backup.")
        if not self.accept_unsealed:
            raise UnreadableError(
                "it is neither signed nor encrypted, and a keyring is configured. "
                "Set accept_unsealed=True while older rows are still needed."
            )
        return sealed[2:]

    def _decrypt(self, key_id: str, text: str, bound: bytes) -> str:
        self._demand(key_id)
        cipher = self._cipher(key_id)
        try:
            data = base64.b64decode(text, validate=True)
            if base64.b64encode(data).decode("ascii") != text:
                raise ValueError  # spare bits of the last character were altered
            body: bytes = cipher.decrypt(
                data[:NONCE_BYTES], data[NONCE_BYTES:], _associated(key_id, bound)
            )
            return body.decode("ascii")
        except Exception:  # noqa: BLE001 - whatever the cipher says, the row is not opened
            raise UnreadableError(_WRONG_KEY.format(key_id)) from None

    def _demand(self, key_id: str) -> None:
        if key_id not in self.keys:
            raise UnreadableError(
                f"it was sealed with the key {key_id!r}, which the keyring does not have. "
                "Keep old keys behind the new one until no row needs them."
            )

    def _signature(self, key_id: str, body: str, bound: bytes) -> str:
        key = _derived(self.keys[key_id], b"sign")
        return hmac.digest(key, _associated(key_id, bound) + body.encode("ascii"), "sha256").hex()

    def _cipher(self, key_id: str) -> Any:
        return _cipher(_derived(self.keys[key_id], b"encrypt"))


_WRONG_KEY = (
    "it does not open with the key {!r}: another key of that name sealed it, "
    "or the row was altered or moved. Restore the key or the row."
)


def start_of_plain(sealed: str, start: int = 0) -> int:
    """Where the body of a text begins that needs no key; its seal stands at `start`.

    Raises:
        UnreadableError: it is signed or encrypted, or its seal is damaged.
    """
    if sealed.startswith("p:", start):
        return start + 2
    if sealed[start : start + 2] in ("s:", "e:"):
        raise UnreadableError(
            "it is sealed with a key, and no keyring is configured. Configure the one it needs."
        )
    raise UnreadableError("its seal is damaged. Restore the row from a backup.")


def _derived(key: bytes, purpose: bytes) -> bytes:
    # One key never serves two algorithms.
    return hmac.digest(key, b"fluxio checkpoint " + purpose, hashlib.sha256)


def _associated(key_id: str, bound: bytes) -> bytes:
    return f"{len(key_id)}:{key_id}".encode("ascii") + bound


def _cipher(key: bytes) -> Any:
    try:
        ciphers = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
    except ImportError:
        raise ConfigurationError(
            "Encrypting rows needs the extra 'crypto'. Install fluxio-django[crypto], "
            "or use Keyring(..., encrypt=False) to sign them only.",
            extra="crypto",
        ) from None
    return ciphers.AESGCM(key)
