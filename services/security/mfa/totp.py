"""One-time passwords by time (RFC 6238), and what a generator must be told of them."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from secmesh.security.v1 import mfa_device_pb2

WINDOW = 1
"""Time steps before and after the present whose passwords are taken (RFC 6238, 5.2)."""
_HASHES: Mapping[int, tuple[str, type[SHA1 | SHA256 | SHA512]]] = {
    mfa_device_pb2.OTP_ALGORITHM_SHA1: ("SHA1", SHA1),
    mfa_device_pb2.OTP_ALGORITHM_SHA256: ("SHA256", SHA256),
    mfa_device_pb2.OTP_ALGORITHM_SHA512: ("SHA512", SHA512),
}


@dataclass(frozen=True)
class Settings:
    """How a generator makes passwords."""

    algorithm: "mfa_device_pb2.OtpAlgorithm.ValueType" = mfa_device_pb2.OTP_ALGORITHM_SHA1
    digits: int = 6
    period: int = 30
    """Seconds."""

    @classmethod
    def of(cls, stated: Any) -> "Settings":
        """Take the fields of a device or of a request; what they leave open is as usual."""
        return cls(
            stated.otp_algorithm or cls.algorithm,
            stated.otp_digits or cls.digits,
            stated.otp_period_seconds or cls.period,
        )


def new_secret(settings: Settings) -> str:
    """Make a secret as long as the hash (RFC 6238, 5.1), 160 bits or more, in base32."""
    _, algorithm = _HASHES[settings.algorithm]
    return base64.b32encode(secrets.token_bytes(algorithm.digest_size)).decode().rstrip("=")


def step_at(moment: int, settings: Settings) -> int:
    """Give the time step of a moment in microseconds since 1970."""
    return moment // 1_000_000 // settings.period


def password(secret: str, step: int, settings: Settings) -> str:
    """Give the password of a time step; ``secret`` is base32 without padding."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    _, algorithm = _HASHES[settings.algorithm]
    return HOTP(key, settings.digits, algorithm()).generate(step).decode()


def accepted_step(
    secret: str, code: str, moment: int, settings: Settings, last_step: int | None
) -> int | None:
    """Give the step, later than the last one taken, that a code is the password of; else None.

    All steps of the window are compared, whichever fits: the time tells nothing.
    """
    present = step_at(moment, settings)
    found = None
    for step in range(max(0, present - WINDOW), present + WINDOW + 1):
        fits = hmac.compare_digest(password(secret, step, settings).encode(), code.encode())
        if fits and (last_step is None or step > last_step):
            found = step
    return found


def otpauth_uri(secret: str, issuer: str, account: str, settings: Settings) -> str:
    """Write what generators read from a QR code (Key Uri Format of Google Authenticator)."""
    name, _ = _HASHES[settings.algorithm]
    query = {
        "secret": secret,
        "issuer": issuer,
        "algorithm": name,
        "digits": settings.digits,
        "period": settings.period,
    }
    label = f"{quote(issuer, safe='')}:{quote(account, safe='@')}"
    return f"otpauth://totp/{label}?{urlencode(query, quote_via=quote)}"
