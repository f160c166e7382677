"""Tokens: what is accepted, and each way of being refused."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mesh.errors import Refusal, TokenExpired, TokenInvalid, TokenMissing
from mesh.identity.keys import (
    AUDIENCE,
    ISSUER,
    JWKS_FILE,
    KEY_FILE,
    create_signing_key,
    sign_token,
)
from mesh.identity.roles import ROLES
from mesh.identity.token import LEEWAY_SECONDS, MAX_TOKEN_CHARS, TokenVerifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_signing_key(tmp_path)
    return tmp_path


@pytest.fixture
def verifier(folder: Path) -> TokenVerifier:
    return TokenVerifier(folder / JWKS_FILE, ISSUER, AUDIENCE)


def kid_of(folder: Path) -> str:
    kid: str = json.loads((folder / JWKS_FILE).read_bytes())["keys"][0]["kid"]
    return kid


def signed(folder: Path, *, kid: str | None = None, **changes: Any) -> str:
    """Sign claims that are good but for the changes; None takes a claim away."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "tenant": "acme",
        "exp": now + 60,
        **changes,
    }
    claims = {key: value for key, value in claims.items() if value is not None}
    key = (folder / KEY_FILE).read_text()
    return jwt.encode(claims, key, "ES256", headers={"kid": kid or kid_of(folder)})


def refusal(verifier: TokenVerifier, token: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        verifier.verify(token)
    # A refused token is never repeated to the caller.
    assert not token or token not in caught.value.message
    return caught.value


def test_a_good_token_names_its_caller(folder: Path, verifier: TokenVerifier) -> None:
    token = sign_token(
        folder,
        subject="ann",
        tenant="acme",
        roles=["viewer"],
        permissions=["inventory.syncs.create"],
        tenants=["rival"],
        lifetime=timedelta(minutes=3),
    )
    caller = verifier.verify(token)
    assert (caller.subject, caller.tenant) == ("ann", "acme")
    assert caller.permissions == ROLES["viewer"] | {"inventory.syncs.create"}
    assert caller.tenants == {"rival"}
    assert caller.acts_for("acme")
    assert caller.acts_for("rival")
    assert not caller.acts_for("third")
    assert not caller.acts_for("")
    assert 170 < caller.expires_at - time.time() <= 180


def test_no_token(verifier: TokenVerifier) -> None:
    assert isinstance(refusal(verifier, ""), TokenMissing)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_tampered_token(folder: Path, verifier: TokenVerifier, part: int) -> None:
    parts = signed(folder).split(".")
    middle = len(parts[part]) // 2
    parts[part] = (
        parts[part][:middle]
        + ("A" if parts[part][middle] != "A" else "B")
        + parts[part][middle + 1 :]
    )
    assert isinstance(refusal(verifier, ".".join(parts)), TokenInvalid)


def test_claims_of_another_token(folder: Path, verifier: TokenVerifier) -> None:
    header, _, signature = signed(folder).split(".")
    _, claims, _ = signed(folder, tenant="rival").split(".")
    assert isinstance(refusal(verifier, f"{header}.{claims}.{signature}"), TokenInvalid)


def test_a_key_that_is_not_the_issuers(
    folder: Path, verifier: TokenVerifier, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    create_signing_key(other)
    assert "not one of the issuer's" in refusal(verifier, signed(other)).message
    # The right kid does not help a wrong key.
    forged = signed(other, kid=kid_of(folder))
    assert isinstance(refusal(verifier, forged), TokenInvalid)


def _segment(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


@pytest.mark.parametrize("secret", ["jwks", "pem"])
def test_the_public_key_is_no_shared_secret(
    folder: Path, verifier: TokenVerifier, secret: str
) -> None:
    private = serialization.load_pem_private_key((folder / KEY_FILE).read_bytes(), None)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key = pem if secret == "pem" else (folder / JWKS_FILE).read_bytes()
    header = _segment({"alg": "HS256", "kid": kid_of(folder), "typ": "JWT"})
    claims = _segment(
        {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "tenant": "acme", "exp": 9_999_999_999}
    )
    signature = hmac.digest(key, header + b"." + claims, hashlib.sha256)
    token = b".".join([header, claims, base64.urlsafe_b64encode(signature).rstrip(b"=")])
    assert isinstance(refusal(verifier, token.decode()), TokenInvalid)


@pytest.mark.parametrize("alg", ["none", "None", "ES384", "PS256", "", None, 5, ["ES256"]])
def test_algorithms_that_are_not_listed(folder: Path, verifier: TokenVerifier, alg: Any) -> None:
    _, claims, signature = signed(folder).split(".")
    header = _segment({"alg": alg, "kid": kid_of(folder)}).decode()
    assert isinstance(refusal(verifier, f"{header}.{claims}.{signature}"), TokenInvalid)
    assert isinstance(refusal(verifier, f"{header}.{claims}."), TokenInvalid)


@pytest.mark.parametrize(
    ("changes", "error", "word"),
    [
        ({"exp": int(time.time()) - 3600}, TokenExpired, "expired"),
        ({"exp": None}, TokenInvalid, "exp"),
        ({"exp": "soon"}, TokenInvalid, "form"),
        ({"nbf": int(time.time()) + 3600}, TokenInvalid, "not valid yet"),
        ({"iat": int(time.time()) + 3600}, TokenInvalid, "not valid yet"),
        ({"aud": "another"}, TokenInvalid, "audience"),
        ({"aud": None}, TokenInvalid, "aud"),
        ({"iss": "https://evil.example"}, TokenInvalid, "issuer"),
        ({"iss": None}, TokenInvalid, "iss"),
        ({"sub": None}, TokenInvalid, "sub"),
        ({"sub": ""}, TokenInvalid, "sub"),
        ({"sub": "x" * 257}, TokenInvalid, "sub"),
        ({"tenant": None}, TokenInvalid, "tenant"),
        ({"tenant": ""}, TokenInvalid, "tenant"),
        ({"tenant": "ACME"}, TokenInvalid, "tenant"),
        ({"tenant": "acme/../rival"}, TokenInvalid, "tenant"),
        ({"tenant": "acme\n"}, TokenInvalid, "tenant"),
        ({"tenant": ["acme"]}, TokenInvalid, "tenant"),
        ({"permissions": "*.*.*"}, TokenInvalid, "permissions"),
        ({"permissions": ["*"]}, TokenInvalid, "permissions"),
        ({"permissions": ["inventory.*"]}, TokenInvalid, "permissions"),
        ({"permissions": ["inventory.iam*.get"]}, TokenInvalid, "permissions"),
        ({"permissions": ["a.b.c"] * 257}, TokenInvalid, "permissions"),
        ({"roles": ["emperor"]}, TokenInvalid, "roles"),
        ({"roles": [None]}, TokenInvalid, "roles"),
        ({"tenants": ["*"]}, TokenInvalid, "tenants"),
        ({"tenants": "rival"}, TokenInvalid, "tenants"),
    ],
)
def test_claims_that_are_refused(
    folder: Path,
    verifier: TokenVerifier,
    changes: dict[str, Any],
    error: type[Refusal],
    word: str,
) -> None:
    found = refusal(verifier, signed(folder, **changes))
    assert isinstance(found, error)
    assert word in found.message


def test_clocks_may_differ_a_little(folder: Path, verifier: TokenVerifier) -> None:
    now = int(time.time())
    late = signed(folder, exp=now - 1)
    early = signed(folder, iat=now + LEEWAY_SECONDS, nbf=now + LEEWAY_SECONDS)
    assert verifier.verify(late).subject == "ann"
    assert verifier.verify(early).subject == "ann"
    with pytest.raises(TokenInvalid, match="not valid yet"):
        verifier.verify(signed(folder, nbf=now + LEEWAY_SECONDS + 3600))


def test_one_of_several_audiences(folder: Path, verifier: TokenVerifier) -> None:
    assert verifier.verify(signed(folder, aud=["other", AUDIENCE])).subject == "ann"


def test_a_huge_token_is_refused_unread(verifier: TokenVerifier) -> None:
    found = refusal(verifier, "a." * (MAX_TOKEN_CHARS * 64))
    assert str(MAX_TOKEN_CHARS) in found.message


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "....", "eyJhbGciOiJFUzI1NiJ9..", "é.é.é"])
def test_what_is_no_token(verifier: TokenVerifier, token: str) -> None:
    assert isinstance(refusal(verifier, token), TokenInvalid)


@pytest.mark.parametrize("kind", ["RS256", "EdDSA"])
def test_the_other_algorithms(tmp_path: Path, kind: str) -> None:
    private: Any
    if kind == "RS256":
        private = rsa.generate_private_key(65537, 2048)
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        private = ed25519.Ed25519PrivateKey.generate()
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    jwk = {key: value for key, value in jwk.items() if key != "key_ops"}
    jwks = tmp_path / "set.json"
    jwks.write_text(json.dumps({"keys": [{**jwk, "kid": "k1"}]}))
    claims = {"iss": "i", "aud": "a", "sub": "s", "tenant": "acme", "exp": int(time.time()) + 60}
    verifier = TokenVerifier(jwks, "i", "a")
    assert verifier.verify(jwt.encode(claims, private, kind, {"kid": "k1"})).subject == "s"
    # The key's algorithm decides, not the header's.
    other = ec.generate_private_key(ec.SECP256R1())
    forged = jwt.encode(claims, other, "ES256", {"kid": "k1"})
    assert isinstance(refusal(verifier, forged), TokenInvalid)


async def test_a_remembered_token_still_expires(folder: Path, verifier: TokenVerifier) -> None:
    token = signed(folder, exp=int(time.time()) - LEEWAY_SECONDS + 8)
    assert (await verifier.authenticate(token)).subject == "ann"
    deadline = time.monotonic() + 60
    with pytest.raises(TokenExpired):  # noqa: PT012 - asked until it happens
        while time.monotonic() < deadline:
            await verifier.authenticate(token)
            await asyncio.sleep(0.05)
    assert verifier.known(token) is None


async def test_a_remembered_token_is_not_verified_twice(
    folder: Path, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(folder)
    assert verifier.known(token) is None
    first = await verifier.authenticate(token)
    monkeypatch.setattr(jwt, "decode", None)
    assert await verifier.authenticate(token) is first
    assert verifier.known(token) is first
    assert verifier.known(signed(folder, sub="bob")) is None
    with pytest.raises(TokenInvalid):
        await verifier.authenticate(signed(folder, sub="bob"))


async def test_memory_is_bounded(folder: Path, verifier: TokenVerifier) -> None:
    from mesh.identity import token as module

    for number in range(module._CACHE_SIZE + 20):
        await verifier.authenticate(signed(folder, sub=f"s{number}"))
    assert len(verifier._verified) == module._CACHE_SIZE


async def test_a_withdrawn_key_voids_what_it_signed(folder: Path, verifier: TokenVerifier) -> None:
    token = signed(folder)
    await verifier.authenticate(token)
    (folder / KEY_FILE).unlink()
    create_signing_key(folder)
    verifier._source._looked -= 2
    assert verifier.known(token) is None
    with pytest.raises(TokenInvalid, match="not one of the issuer's"):
        await verifier.authenticate(token)
    assert (await verifier.authenticate(signed(folder))).subject == "ann"
