"""The signing key of an installation without an issuer of its own, and tokens made with it.

`make run` and tests use it; a company's own issuer takes its place by settings.
"""

import base64
import hashlib
import os
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "secmesh-local"
AUDIENCE = "secmesh"
KEY_FILE = "signing_key.pem"
JWKS_FILE = "jwks.json"
_ALGORITHM = "ES256"


def create_signing_key(folder: Path) -> Path:
    """Make an ES256 key and its public set in a folder, unless they are there; give the set's path.

    The key's file is readable by its owner alone.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / KEY_FILE).exists():
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write_once(folder / KEY_FILE, pem)
    jwks = folder / JWKS_FILE
    content = orjson.dumps({"keys": [public_jwk(_signing_key(folder))]})
    if not jwks.exists() or jwks.read_bytes() != content:
        _replace(jwks, content)
    return jwks


def sign_token(
    folder: Path,
    *,
    subject: str,
    tenant: str,
    roles: Iterable[str] = (),
    permissions: Iterable[str] = (),
    tenants: Iterable[str] = (),
    methods: Iterable[str] = (),
    lifetime: timedelta = timedelta(minutes=5),
) -> str:
    """Sign a token with a folder's key; ``tenants`` are those a platform principal acts for.

    ``methods`` are the only ones it is good for; all if there are none.
    """
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "tenant": tenant,
        "iat": now,
        "nbf": now,
        "exp": now + int(lifetime.total_seconds()),
        "jti": str(uuid.uuid4()),
        "roles": sorted(roles),
        "permissions": sorted(permissions),
    }
    if acting_for := sorted(tenants):
        claims["tenants"] = acting_for
    if limited_to := sorted(methods):
        claims["methods"] = limited_to
    key = _signing_key(folder)
    return jwt.encode(claims, key, _ALGORITHM, headers={"kid": public_jwk(key)["kid"]})


def public_key_id(folder: Path) -> str:
    """Give the ``kid`` of a folder's key. Raises OSError or ValueError if there is none."""
    return public_jwk(_signing_key(folder))["kid"]


def _signing_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    pem = (folder / KEY_FILE).read_bytes()
    key = serialization.load_pem_private_key(pem, password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError(f"{KEY_FILE} holds no P-256 key")


def public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Give the public half as RFC 7517 has it; its ``kid`` is the thumbprint of RFC 7638."""
    numbers = key.public_key().public_numbers()
    members = {
        "crv": "P-256",
        "kty": "EC",
        "x": _base64url(numbers.x.to_bytes(32)),
        "y": _base64url(numbers.y.to_bytes(32)),
    }
    # The thumbprint of RFC 7638: hash of the required members in the order of their names.
    thumbprint = _base64url(hashlib.sha256(orjson.dumps(members)).digest())
    return {**members, "kid": thumbprint, "use": "sig", "alg": _ALGORITHM}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _write_once(path: Path, content: bytes) -> None:
    """Write a private file whole; if another process was first, keep its file."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        try:
            os.link(partial, path)
        except FileExistsError:
            return
    finally:
        partial.unlink()


def _replace(path: Path, content: bytes) -> None:
    """Replace a public file in one step, so that no reader sees half of it."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    partial.write_bytes(content)
    partial.replace(path)
