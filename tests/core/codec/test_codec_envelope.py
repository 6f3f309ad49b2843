"""A sealed row is opened unchanged and in its own place, or not at all."""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxio.codec import (
    DEFAULT_CODEC,
    FORMAT_VERSION,
    Keyring,
    Sealed,
    Spelling,
    is_plain,
    seal,
    seal_bound,
    unseal,
)
from fluxio.codec.envelope import _HASHED_AT_ONCE, Bound, _digest, _rendered
from fluxio.errors import ConfigurationError, CorruptCheckpointError, EncodingError

ROOT = Path(__file__).resolve().parents[3]

BODY = DEFAULT_CODEC.encode({"order": list(range(200)), "text": "ä" * 60, "pair": (1, 2)})
BINDING: Mapping[str, Bound] = {
    "run_id": "order-1",
    "sequence": 7,
    "attempt": 1,
    "step": "charge#2",
    "branch": "",
    "background": False,
    "duration": 0.25,
    "parent": None,
}
KEY = bytes(range(32))
ENCRYPTING = Keyring(keys={"2026": KEY})
SIGNING = Keyring(keys={"2026": KEY}, encrypt=False)
KEYRINGS = [
    pytest.param(None, id="plain"),
    pytest.param(SIGNING, id="signed"),
    pytest.param(ENCRYPTING, id="encrypted"),
]


def refusal(sealed: Sealed, binding: Mapping[str, Bound] = BINDING, **options: Any) -> str:
    with pytest.raises(CorruptCheckpointError) as caught:
        unseal(sealed.payload, sealed.digest, binding, **options)
    assert caught.value.run_id == binding.get("run_id")
    assert caught.value.sequence == binding.get("sequence")
    assert caught.value.reason in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("keyring", KEYRINGS)
def test_a_sealed_text_is_opened_unchanged(keyring: Keyring | None) -> None:
    sealed = seal(BODY, BINDING, keyring=keyring)
    assert sealed.payload.isascii()
    assert unseal(*sealed, dict(reversed(BINDING.items())), keyring=keyring) == BODY


@pytest.mark.parametrize("keyring", KEYRINGS)
def test_every_bit_flip_of_a_row_is_detected(keyring: Keyring | None) -> None:
    sealed = seal(BODY, BINDING, keyring=keyring)
    assert len(sealed.payload) > 1_000
    for field in Sealed._fields:
        original = getattr(sealed, field).encode("ascii")
        for position in range(len(original) * 8):
            flipped = bytearray(original)
            flipped[position // 8] ^= 1 << position % 8
            refusal(sealed._replace(**{field: flipped.decode("latin-1")}), keyring=keyring)


@pytest.mark.parametrize("size", [-1, 0, 1])
@pytest.mark.parametrize("letter", ["x", "ä", "\ud800"])
def test_a_large_text_has_the_digest_of_the_whole(size: int, letter: str) -> None:
    text = "1:p:" + letter * (3 * _HASHED_AT_ONCE - 4 + size)
    encoded = text.encode("utf-8", "surrogatepass")
    assert _digest(text, b"row") == sha256(b"row%d:%b" % (len(encoded), encoded)).hexdigest()


def test_a_change_anywhere_in_a_large_row_is_detected() -> None:
    sealed = seal("x" * (2 * _HASHED_AT_ONCE + 7), BINDING)
    assert unseal(*sealed, BINDING) == "x" * (2 * _HASHED_AT_ONCE + 7)
    for position in (4, _HASHED_AT_ONCE - 1, _HASHED_AT_ONCE, 2 * _HASHED_AT_ONCE, -1):
        for other in ("y", "ä"):
            changed = [*sealed.payload]
            changed[position] = other
            refusal(sealed._replace(payload="".join(changed)))
    refusal(sealed._replace(payload=sealed.payload[:-1]))


def test_only_a_row_without_signature_needs_no_key() -> None:
    assert is_plain(seal(BODY, BINDING).payload)
    assert is_plain(seal(BODY, BINDING).payload[:10])
    for keyring in (SIGNING, ENCRYPTING):
        assert not is_plain(seal(BODY, BINDING, keyring=keyring).payload)
        assert not is_plain(seal("p:", BINDING, keyring=keyring).payload)


@pytest.mark.parametrize("keyring", KEYRINGS)
def test_every_truncation_of_a_row_is_detected(keyring: Keyring | None) -> None:
    sealed = seal(BODY, BINDING, keyring=keyring)
    for field in Sealed._fields:
        original = getattr(sealed, field)
        for length in range(len(original)):
            refusal(sealed._replace(**{field: original[:length]}), keyring=keyring)
            refusal(sealed._replace(**{field: original[length + 1 :]}), keyring=keyring)
        refusal(sealed._replace(**{field: original + "0"}), keyring=keyring)


@pytest.mark.parametrize("keyring", KEYRINGS)
@pytest.mark.parametrize("name", BINDING)
def test_a_row_in_another_place_is_refused(keyring: Keyring | None, name: str) -> None:
    sealed = seal(BODY, BINDING, keyring=keyring)
    others: list[Bound] = ["order-2", "7", 7, 8, 0, True, 0.5, 7.0, None, "", "None", "False"]
    for other in others:
        moved = {**BINDING, name: other}
        if type(other) is type(BINDING[name]) and other == BINDING[name]:
            continue
        refusal(sealed, moved, keyring=keyring)
    refusal(sealed, {key: value for key, value in BINDING.items() if key != name}, keyring=keyring)
    refusal(sealed, {**BINDING, "more": None}, keyring=keyring)


@pytest.mark.security(13)
@pytest.mark.parametrize("keyring", KEYRINGS)
def test_two_swapped_rows_are_both_refused(keyring: Keyring | None) -> None:
    places = [{**BINDING, "sequence": sequence} for sequence in (1, 2)]
    rows = [seal(BODY, place, keyring=keyring) for place in places]
    for row, place in zip(reversed(rows), places, strict=True):
        refusal(row, place, keyring=keyring)


BOUND = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
BINDINGS = st.dictionaries(st.text(), BOUND, max_size=4)


@settings(max_examples=300, deadline=None)
@given(BINDINGS, BINDINGS)
def test_different_bindings_never_share_a_digest(
    left: dict[str, Bound], right: dict[str, Bound]
) -> None:
    def spelled(binding: dict[str, Bound]) -> list[str]:
        return sorted(f"{name!a} {type(value)} {value!a}" for name, value in binding.items())

    same = seal("{}", left).digest == seal("{}", right).digest
    assert same == (spelled(left) == spelled(right))


@given(
    st.fixed_dictionaries(
        {name: st.none() | st.booleans() | st.integers() | st.text() for name in ("b", "%s", "a")}
    )
)
@example({"b": "half \ud800", "%s": 1, "a": None})
def test_a_spelling_that_is_prepared_is_the_same(binding: dict[str, Any]) -> None:
    spelling = Spelling("b", "%s", "a")
    bound = spelling.spell([binding[name] for name in spelling.names])
    assert seal_bound("text", bound) == seal("text", binding)


@pytest.mark.parametrize("keyring", KEYRINGS)
def test_half_of_a_surrogate_pair_is_bound_like_any_other_text(keyring: Keyring | None) -> None:
    binding = {**BINDING, "step": "half \ud800"}
    sealed = seal(BODY, binding, keyring=keyring)
    assert unseal(sealed.payload, sealed.digest, binding, keyring=keyring) == BODY
    refusal(sealed, {**BINDING, "step": "half \udc00"}, keyring=keyring)


def test_text_cannot_move_between_neighbouring_fields_of_a_binding() -> None:
    bindings: list[dict[str, Bound]] = [
        {"a": "bc", "d": ""},
        {"a": "b", "cd": ""},
        {"ab": "c", "d": ""},
        {"a": "bcd"},
        {"a": "b", "c": "d"},
        {"a": "1:b", "c": "d"},
    ]
    assert len({seal("{}", binding).digest for binding in bindings}) == len(bindings)


def test_a_str_enum_is_bound_as_the_text_it_stands_for() -> None:
    class Kind(StrEnum):
        STEP = "step"

    sealed = seal(BODY, {"kind": Kind.STEP})
    assert unseal(*sealed, {"kind": "step"}) == BODY


@pytest.mark.parametrize("value", [b"x", [1], object(), (1,)])
def test_only_plain_facts_are_bound(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="'fact' is bound to a row as"):
        seal(BODY, {"fact": value})


def test_a_newer_format_says_so_and_what_to_do() -> None:
    sealed = seal(BODY, BINDING)
    newer = sealed._replace(payload=sealed.payload.replace("1:", "2:", 1))
    reason = refusal(newer)
    assert f"format 2, and this release reads formats up to {FORMAT_VERSION}" in reason
    assert "Upgrade fluxio" in reason


def test_rows_of_the_first_format_stay_readable() -> None:
    payload = '1:p:{"total":{"$decimal":"1.50"}}'
    digest = "4bec5d3eb0aea788c3d004e59970103ff075f2c732b2eb19497171b02f082415"
    sealed = seal('{"total":{"$decimal":"1.50"}}', BINDING)
    assert sealed == (payload, digest)
    assert unseal(payload, digest, BINDING) == '{"total":{"$decimal":"1.50"}}'


def test_only_ascii_is_sealed() -> None:
    with pytest.raises(EncodingError, match="ASCII"):
        seal("é", BINDING)


# --- keyrings ------------------------------------------------------------------------------------


def test_an_encrypted_row_does_not_show_its_values_and_never_looks_the_same_twice() -> None:
    first, second = (seal(BODY, BINDING, keyring=ENCRYPTING) for _ in range(2))
    assert "order" not in first.payload
    assert first.payload != second.payload


def test_a_signed_row_stays_readable_to_people() -> None:
    assert BODY in seal(BODY, BINDING, keyring=SIGNING).payload


def test_keys_are_rotated_without_rewriting_rows() -> None:
    for encrypt in (True, False):
        old = Keyring(keys={"a": KEY}, encrypt=encrypt)
        rotated = Keyring(keys={"b": KEY[::-1], "a": KEY}, encrypt=encrypt)
        sealed = seal(BODY, BINDING, keyring=old)
        assert unseal(*sealed, BINDING, keyring=rotated) == BODY
        assert ":b:" in seal(BODY, BINDING, keyring=rotated).payload
        newer = seal(BODY, BINDING, keyring=rotated)
        assert "the key 'b', which the keyring does not have" in refusal(newer, keyring=old)


@pytest.mark.security(13)
@pytest.mark.parametrize("keyring", [ENCRYPTING, SIGNING], ids=["encrypted", "signed"])
def test_a_wrong_key_of_the_right_name_opens_nothing(keyring: Keyring) -> None:
    wrong = Keyring(keys={"2026": os.urandom(32)}, encrypt=keyring.encrypt)
    assert "does not open" in refusal(seal(BODY, BINDING, keyring=keyring), keyring=wrong)


@pytest.mark.parametrize("keyring", [ENCRYPTING, SIGNING], ids=["encrypted", "signed"])
def test_without_a_keyring_a_sealed_row_is_refused(keyring: Keyring) -> None:
    assert "no keyring is configured" in refusal(seal(BODY, BINDING, keyring=keyring))


@pytest.mark.security(13)
@pytest.mark.parametrize("keyring", [ENCRYPTING, SIGNING], ids=["encrypted", "signed"])
def test_a_keyring_refuses_a_plain_row_unless_told_otherwise(keyring: Keyring) -> None:
    plain = seal(BODY, BINDING)
    assert "neither signed nor encrypted" in refusal(plain, keyring=keyring)
    lenient = Keyring(keys=keyring.keys, encrypt=keyring.encrypt, accept_unsealed=True)
    assert unseal(*plain, BINDING, keyring=lenient) == BODY


def test_a_keyring_that_encrypts_refuses_a_row_that_is_only_signed() -> None:
    signed = seal(BODY, BINDING, keyring=SIGNING)
    assert "not encrypted" in refusal(signed, keyring=ENCRYPTING)
    lenient = Keyring(keys={"2026": KEY}, accept_unsealed=True)
    assert unseal(*signed, BINDING, keyring=lenient) == BODY


def test_a_keyring_that_signs_opens_what_was_encrypted_with_its_keys() -> None:
    assert unseal(*seal(BODY, BINDING, keyring=ENCRYPTING), BINDING, keyring=SIGNING) == BODY


@pytest.mark.security(13)
@pytest.mark.parametrize("keyring", [ENCRYPTING, SIGNING], ids=["encrypted", "signed"])
def test_who_can_write_rows_but_has_no_key_cannot_forge_or_move_one(keyring: Keyring) -> None:
    # The digest needs no key, so an intruder can make a fitting one; the seal must hold by itself.
    sealed = seal(BODY, BINDING, keyring=keyring)
    elsewhere = {**BINDING, "sequence": 8}
    moved = Sealed(sealed.payload, _digest(sealed.payload, _rendered(elsewhere)))
    assert "does not open" in refusal(moved, elsewhere, keyring=keyring)

    for position in range(len("1:e:"), len(sealed.payload)):
        letter = "A" if sealed.payload[position] != "A" else "B"
        payload = sealed.payload[:position] + letter + sealed.payload[position + 1 :]
        refusal(Sealed(payload, _digest(payload, _rendered(BINDING))), keyring=keyring)


def test_spare_bits_in_the_text_of_an_encrypted_row_are_no_hiding_place() -> None:
    for body in ("1", "11", "111"):
        payload = seal(body, BINDING, keyring=ENCRYPTING).payload
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        last = payload.rstrip("=")[-1]
        padding = len(payload) - len(payload.rstrip("="))
        for letter in letters.replace(last, ""):
            altered = payload.rstrip("=")[:-1] + letter + "=" * padding
            digest = _digest(altered, _rendered(BINDING))
            refusal(Sealed(altered, digest), keyring=ENCRYPTING)


def test_a_forged_digest_of_a_damaged_envelope_is_still_refused() -> None:
    for payload in (
        "",
        "1:",
        "1:x:{}",
        "p:{}",
        "0:p:{}",
        "01:p:{}",
        "1:e:2026",
        "1:s:k:0:{}",
        "{}",
    ):
        forged = Sealed(payload, _digest(payload, _rendered(BINDING)))
        refusal(forged)
        refusal(forged, keyring=ENCRYPTING)
        refusal(forged, keyring=SIGNING)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({}, "needs a key"),
        ({"a": b"short"}, "no bytes of length 32"),
        ({"a": "x" * 32}, "no bytes of length 32"),
        ({"a:b": KEY}, "cannot be the id"),
        ({"": KEY}, "cannot be the id"),
        ({"a\n": KEY}, "cannot be the id"),
    ],
)
def test_keys_that_cannot_protect_are_refused_at_once(keys: Any, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        Keyring(keys=keys)


def test_a_keyring_never_shows_its_keys() -> None:
    keyring = Keyring(keys={"a": b"k" * 32})
    assert "kkkk" not in repr(keyring) + str(keyring)


def test_encryption_without_its_extra_is_refused_when_the_keyring_is_made() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from fluxio.codec import Keyring, seal, unseal\n"
        "from fluxio.errors import ConfigurationError\n"
        "signing = Keyring(keys={'a': bytes(32)}, encrypt=False)\n"
        "assert unseal(*seal('{}', {}, keyring=signing), {}, keyring=signing) == '{}'\n"
        "try:\n"
        "    Keyring(keys={'a': bytes(32)})\n"
        "except ConfigurationError as error:\n"
        "    assert error.extra == 'crypto'\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "fluxio-django[crypto]" in result.stdout


def test_importing_the_codec_does_not_load_cryptography() -> None:
    program = "import sys, fluxio.codec; print('cryptography' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "False"


def test_a_corrupt_row_survives_pickling_with_its_facts() -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        unseal("x", "y", BINDING)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.run_id, error.sequence) == ("order-1", 7)
    assert error.reason
