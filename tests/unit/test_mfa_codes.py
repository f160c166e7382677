"""One-time passwords against published vectors, backup codes, and how long wrong ones lock."""

import base64
import re
from typing import TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secmesh.security.v1 import mfa_device_pb2 as mfa
from services.security.mfa import backup_codes, throttle, totp

SHA1, SHA256, SHA512 = (
    mfa.OTP_ALGORITHM_SHA1,
    mfa.OTP_ALGORITHM_SHA256,
    mfa.OTP_ALGORITHM_SHA512,
)
Algorithm: TypeAlias = "mfa.OtpAlgorithm.ValueType"
LENGTHS: dict[Algorithm, int] = {SHA1: 20, SHA256: 32, SHA512: 64}
VECTORS: list[tuple[int, dict[Algorithm, str]]] = [
    # RFC 6238, appendix B: seconds, and the passwords of 8 digits (erratum 2866 on the keys).
    (59, {SHA1: "94287082", SHA256: "46119246", SHA512: "90693936"}),
    (1111111109, {SHA1: "07081804", SHA256: "68084774", SHA512: "25091201"}),
    (1111111111, {SHA1: "14050471", SHA256: "67062674", SHA512: "99943326"}),
    (1234567890, {SHA1: "89005924", SHA256: "91819424", SHA512: "93441116"}),
    (2000000000, {SHA1: "69279037", SHA256: "90698825", SHA512: "38618901"}),
    (20000000000, {SHA1: "65353130", SHA256: "77737706", SHA512: "47863826"}),
]
SECRETS = {
    each: base64.b32encode((b"1234567890" * 7)[:length]).decode().rstrip("=")
    for each, length in LENGTHS.items()
}


@pytest.mark.parametrize("algorithm", LENGTHS)
@pytest.mark.parametrize(("seconds", "expected"), VECTORS, ids=[str(each[0]) for each in VECTORS])
def test_passwords_are_those_that_were_published(
    seconds: int, expected: dict[Algorithm, str], algorithm: Algorithm
) -> None:
    settings = totp.Settings(algorithm, digits=8)
    step = totp.step_at(seconds * 1_000_000 + 999_999, settings)
    assert totp.password(SECRETS[algorithm], step, settings) == expected[algorithm]


@given(
    now=st.integers(0, 2**40),
    offset=st.integers(-4, 4),
    last=st.none() | st.integers(-4, 4),
    algorithm=st.sampled_from(sorted(LENGTHS)),
)
def test_a_password_is_taken_near_its_step_and_after_the_last(
    now: int, offset: int, last: int | None, algorithm: Algorithm
) -> None:
    # Eight digits: two steps of a window hardly ever have the same password.
    settings = totp.Settings(algorithm, digits=8)
    present = totp.step_at(now * 1_000_000, settings)
    step = max(0, present + offset)
    code = totp.password(SECRETS[algorithm], step, settings)
    last_step = None if last is None else present + last
    taken = totp.accepted_step(SECRETS[algorithm], code, now * 1_000_000, settings, last_step)
    near = abs(step - present) <= totp.WINDOW
    assert (taken == step) == (near and (last_step is None or step > last_step))


def test_a_password_of_another_length_is_none() -> None:
    settings = totp.Settings()
    code = totp.password(SECRETS[SHA1], 100, settings)
    moment = 100 * settings.period * 1_000_000
    assert totp.accepted_step(SECRETS[SHA1], code, moment, settings, None) == 100
    for wrong in (code + "0", "0" + code, code[:-1], ""):
        assert totp.accepted_step(SECRETS[SHA1], wrong, moment, settings, None) is None


@pytest.mark.parametrize("algorithm", LENGTHS)
def test_a_generator_reads_what_it_needs_from_the_uri(algorithm: Algorithm) -> None:
    settings = totp.Settings(algorithm, digits=7, period=60)
    secret = totp.new_secret(settings)
    assert len(base64.b32decode(secret + "=" * (-len(secret) % 8))) == LENGTHS[algorithm] >= 20
    assert totp.new_secret(settings) != secret
    uri = urlsplit(totp.otpauth_uri(secret, "Acme & Söhne", "ann@example.com", settings))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/Acme & Söhne:ann@example.com"
    assert parse_qs(uri.query) == {
        "secret": [secret],
        "issuer": ["Acme & Söhne"],
        "algorithm": [mfa.OtpAlgorithm.Name(algorithm).removeprefix("OTP_ALGORITHM_")],
        "digits": ["7"],
        "period": ["60"],
    }


def test_backup_codes_are_long_and_forgive_how_they_are_typed() -> None:
    codes = {backup_codes.new_code() for _ in range(200)}
    assert len(codes) == 200
    assert backup_codes.BYTES * 8 >= 80
    for code in codes:
        assert re.fullmatch(r"([A-Z2-7]{4}-){3}[A-Z2-7]{4}", code)
        form = backup_codes.normal_form(code)
        assert form == code.replace("-", "")
        assert backup_codes.normal_form(f" {code.lower().replace('-', ' ')}\t") == form


def test_every_further_wrong_code_locks_for_twice_as_long() -> None:
    free, first = throttle.FREE, throttle.FIRST
    assert [throttle.locked_seconds(each) for each in range(free + 1)] == [0] * (free + 1)
    beyond = [throttle.locked_seconds(free + each) for each in range(1, 6)]
    assert beyond == [first, first * 2, first * 4, first * 8, first * 16]
    assert throttle.locked_seconds(10**9) == throttle.LONGEST == 86_400


def test_a_year_of_guessing_is_hopeless() -> None:
    """NIST SP 800-63B allows 100 wrong attempts in a row; six digits, three of them right."""
    elapsed, guesses = 0, 0
    while elapsed < 365 * 86_400:
        guesses += 1
        elapsed += throttle.locked_seconds(guesses)
    assert guesses < 400
    assert guesses * (2 * totp.WINDOW + 1) / 10**6 < 0.002
