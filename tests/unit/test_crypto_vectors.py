"""The primitives that keys and values depend on give what was published for them."""

import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap,
    aes_key_wrap_with_padding,
)

from tests.unit.published_vectors import cases, data


def test_aes_256_gcm() -> None:
    checked = 0
    for case in cases("ciphers/AES/GCM/gcmDecrypt256.rsp"):
        if (case["ivlen"], case["taglen"]) != ("96", "128"):
            continue
        cipher, iv, aad = AESGCM(data(case, "key")), data(case, "iv"), data(case, "aad")
        sealed = data(case, "ct") + data(case, "tag")
        if "fail" in case:
            with pytest.raises(InvalidTag):
                cipher.decrypt(iv, sealed, aad)
        else:
            assert cipher.decrypt(iv, sealed, aad) == data(case, "pt")
            assert cipher.encrypt(iv, data(case, "pt"), aad) == sealed
        checked += 1
    assert checked == 375


def test_aes_256_gcm_siv() -> None:
    checked = 0
    for case in cases("ciphers/AES/GCM-SIV/openssl.txt"):
        if len(data(case, "key")) != 32 or not data(case, "plaintext"):
            continue
        cipher, iv, aad = AESGCMSIV(data(case, "key")), data(case, "iv"), data(case, "aad")
        sealed = data(case, "ciphertext") + data(case, "tag")
        assert cipher.encrypt(iv, data(case, "plaintext"), aad) == sealed
        assert cipher.decrypt(iv, sealed, aad) == data(case, "plaintext")
        checked += 1
    assert checked > 20


def test_aes_siv() -> None:
    checked = 0
    for case in cases("ciphers/AES/SIV/openssl.txt"):
        items = [data(case, name) for name in ("aad", "aad2", "aad3") if name in case]
        cipher, sealed = AESSIV(data(case, "key")), data(case, "tag") + data(case, "ciphertext")
        assert cipher.encrypt(data(case, "plaintext"), items) == sealed
        assert cipher.decrypt(sealed, items) == data(case, "plaintext")
        checked += 1
    assert checked == 4


@pytest.mark.parametrize("name", ["rfc-5869-HKDF-SHA256.txt", "hkdf-generated.txt"])
def test_hkdf(name: str) -> None:
    checked = 0
    for case in cases(f"KDF/{name}"):
        made = HKDF(hashes.SHA256(), int(case["l"]), data(case, "salt"), data(case, "info")).derive(
            data(case, "ikm")
        )
        assert made == data(case, "okm")
        checked += 1
    assert checked


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_hmac(digest: str) -> None:
    checked = 0
    for case in cases(f"HMAC/rfc-4231-{digest}.txt"):
        assert hmac.digest(data(case, "key"), data(case, "msg"), digest) == data(case, "md")
        checked += 1
    assert checked > 4


@pytest.mark.parametrize("direction", ["AE", "AD"])
def test_aes_key_wrap(direction: str) -> None:
    _check_wrapping(f"KW_{direction}_256", padded=False)


@pytest.mark.parametrize("direction", ["AE", "AD"])
def test_aes_key_wrap_with_padding(direction: str) -> None:
    _check_wrapping(f"KWP_{direction}_256", padded=True)


def _check_wrapping(name: str, *, padded: bool) -> None:
    wrap = aes_key_wrap_with_padding if padded else aes_key_wrap
    unwrap = aes_key_unwrap_with_padding if padded else aes_key_unwrap
    checked = 0
    for case in cases(f"keywrap/kwtestvectors/{name}.txt"):
        # Every fifth of a length: the rest say the same of other keys.
        if int(case["count"]) % 5:
            continue
        key, wrapped = data(case, "k"), data(case, "c")
        if "fail" in case:
            with pytest.raises(InvalidUnwrap):
                unwrap(key, wrapped)
        else:
            assert unwrap(key, wrapped) == data(case, "p")
            assert wrap(key, data(case, "p")) == wrapped
        checked += 1
    assert checked > 50
