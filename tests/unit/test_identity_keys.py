"""Signing keys, key sets from files and URLs."""

import asyncio
import http.server
import json
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mesh.errors import DependencyUnavailable, TokenInvalid
from mesh.identity.issuers import KeyReading, parse_issuers
from mesh.identity.jwks import MAX_BYTES, JwksInvalid, KeySource, parse_jwks
from mesh.identity.keys import AUDIENCE, ISSUER, KEY_FILE, create_signing_key, sign_token
from mesh.identity.token import TokenVerifier


def public(private: Any, **changes: Any) -> dict[str, Any]:
    algorithm: Any = (
        jwt.algorithms.ECAlgorithm
        if isinstance(private, ec.EllipticCurvePrivateKey)
        else jwt.algorithms.RSAAlgorithm
    )
    jwk = algorithm.to_jwk(private.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": "k1", **changes}


def test_the_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    jwks = create_signing_key(folder)
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    keys = json.loads(jwks.read_bytes())["keys"]
    assert [sorted(key) for key in keys] == [["alg", "crv", "kid", "kty", "use", "x", "y"]]


def test_making_a_key_again_changes_nothing(tmp_path: Path) -> None:
    jwks = create_signing_key(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert create_signing_key(tmp_path) == jwks
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: create_signing_key(tmp_path), range(16)))
    token = sign_token(tmp_path, subject="a", tenant="acme")
    verifier = TokenVerifier(tmp_path / "jwks.json", ISSUER, AUDIENCE)
    assert verifier.verify(token).subject == "a"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jwks.json", KEY_FILE]


def test_a_missing_public_set_is_made_from_the_key(tmp_path: Path) -> None:
    jwks = create_signing_key(tmp_path)
    content = jwks.read_bytes()
    jwks.unlink()
    assert create_signing_key(tmp_path).read_bytes() == content


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no JSON Web Key Set"),
        (b"[]", "no JSON Web Key Set"),
        (b'{"keys": 5}', "no JSON Web Key Set"),
        (b'{"keys": [5]}', "no JSON Web Key Set"),
        (b'{"keys": []}', "no key"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}]}', "no key"),
        (b'{"keys": [{"kty": "EC", "d": "x", "kid": "k1"}]}', "private"),
    ],
)
def test_sets_that_are_refused(content: bytes, word: str) -> None:
    with pytest.raises(JwksInvalid, match=word):
        parse_jwks(content)


def test_unfit_keys_are_passed_over() -> None:
    good = ec.generate_private_key(ec.SECP256R1())
    entries = [
        public(good),
        public(ec.generate_private_key(ec.SECP384R1()), kid="wrong curve"),
        public(rsa.generate_private_key(65537, 1024), kid="short"),  # noqa: S505 - meant to be
        public(good, kid="for encryption", use="enc"),
        {"kty": "EC", "crv": "P-256", "x": "?", "y": "?", "kid": "broken"},
    ]
    assert list(parse_jwks(json.dumps({"keys": entries}).encode())) == ["k1"]


def test_two_keys_of_one_kid_are_ambiguous() -> None:
    pair = [public(ec.generate_private_key(ec.SECP256R1())) for _ in range(2)]
    with pytest.raises(JwksInvalid, match="k1"):
        parse_jwks(json.dumps({"keys": pair}).encode())


def test_a_broken_new_set_leaves_the_old_one_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jwks = create_signing_key(tmp_path)
    source = KeySource(jwks)
    kid = json.loads(jwks.read_bytes())["keys"][0]["kid"]
    jwks.write_text("half a fi")
    source._looked -= 2
    source.refresh()
    assert source.key(kid) is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_set_that_is_missing_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KeySource(tmp_path / "absent.json")


def test_an_oversized_set(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(JwksInvalid, match="larger"):
        KeySource(path)


@pytest.mark.parametrize(
    "url", ["http://issuer.example/jwks", "ftp://127.0.0.1/jwks", "file:///etc/passwd", "https://"]
)
def test_unsafe_places_are_refused(url: str) -> None:
    with pytest.raises(JwksInvalid, match="https"):
        KeySource(url)


class Issuer:
    """An issuer's key set over HTTP on loopback."""

    def __init__(self) -> None:
        self.content = b""
        self.redirect = ""
        self.requests = 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                self.send_response(302 if issuer.redirect else 200)
                if issuer.redirect:
                    self.send_header("location", issuer.redirect)
                self.send_header("content-length", str(len(issuer.content)))
                self.end_headers()
                self.wfile.write(issuer.content)

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    thread = threading.Thread(target=started.server.serve_forever, args=(0.01,))
    thread.start()
    yield started
    started.server.shutdown()
    thread.join()
    started.server.server_close()


async def test_a_new_key_is_fetched_once_it_is_used(tmp_path: Path, issuer: Issuer) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    issuer.content = create_signing_key(old).read_bytes()
    verifier = TokenVerifier(issuer.url, ISSUER, AUDIENCE)
    assert (await verifier.authenticate(sign_token(old, subject="a", tenant="acme"))).subject == "a"
    assert issuer.requests == 1
    issuer.content = create_signing_key(new).read_bytes()
    token = sign_token(new, subject="b", tenant="acme")
    # Right after a fetch an unknown kid is refused without another one.
    with pytest.raises(TokenInvalid):
        await verifier.authenticate(token)
    assert issuer.requests == 1
    verifier._source._looked -= 11
    assert (await verifier.authenticate(token)).subject == "b"
    assert issuer.requests == 2
    verifier._source._looked -= 11
    assert verifier.verify(token).subject == "b"
    assert issuer.requests == 2


def test_redirects_are_not_followed(tmp_path: Path, issuer: Issuer) -> None:
    jwks = create_signing_key(tmp_path)
    issuer.content, issuer.redirect = jwks.read_bytes(), jwks.as_uri()
    with pytest.raises(OSError, match="302"):
        KeySource(issuer.url)


def test_an_issuer_that_falls_silent_keeps_its_keys(tmp_path: Path, issuer: Issuer) -> None:
    issuer.content = create_signing_key(tmp_path).read_bytes()
    verifier = TokenVerifier(issuer.url, ISSUER, AUDIENCE)
    issuer.content = b"no longer a key set"
    verifier._source._looked -= 301
    token = sign_token(tmp_path, subject="a", tenant="acme")
    assert verifier.verify(token).subject == "a"
    assert issuer.requests == 2


class Told:
    """A key set that is fetched, and a clock that a test turns."""

    def __init__(self, content: bytes) -> None:
        self.now = 1000.0
        self.content: bytes | None = content
        self.fetched = 0

    def fetch(self) -> bytes:
        self.fetched += 1
        if self.content is None:
            raise OSError("nobody answers")
        return self.content

    def source(self, *, lenient: bool = False) -> KeySource:
        return KeySource(
            "grpc://127.0.0.1:1",
            fetch=self.fetch,
            lenient=lenient,
            max_age=3600,
            clock=lambda: self.now,
        )


async def test_keys_that_cannot_be_read_again_are_believed_no_longer_than_they_may(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(create_signing_key(tmp_path).read_bytes())
    verifier = TokenVerifier(told.source(), ISSUER, AUDIENCE)
    token = sign_token(tmp_path, subject="a", tenant="acme")
    caller = await verifier.authenticate(token)
    content, told.content = told.content, None
    told.now += 3600
    assert await verifier.authenticate(token) == caller
    assert "the one before stays in force" in caplog.text
    told.now += 1
    assert verifier.known(token) is None
    with pytest.raises(DependencyUnavailable):
        await verifier.authenticate(token)
    with pytest.raises(DependencyUnavailable):
        verifier.verify(token)
    assert "no token is verified by it" in caplog.text
    # Once it answers, the next call finds it, and no call in the same second asks twice.
    fetched, told.content, told.now = told.fetched, content, told.now + 1
    assert await verifier.authenticate(token) == caller
    assert told.fetched == fetched + 1
    assert verifier.known(token) == caller


async def test_an_issuer_that_was_never_there_is_asked_each_second(tmp_path: Path) -> None:
    told = Told(create_signing_key(tmp_path).read_bytes())
    content, told.content = told.content, None
    verifier = TokenVerifier(told.source(lenient=True), ISSUER, AUDIENCE)
    token = sign_token(tmp_path, subject="a", tenant="acme")
    for _ in range(3):
        with pytest.raises(DependencyUnavailable):
            await verifier.authenticate(token)
    assert told.fetched == 1
    told.content, told.now = content, told.now + 1
    assert (await verifier.authenticate(token)).subject == "a"


async def test_all_who_wait_for_a_key_set_wait_for_one_reading(tmp_path: Path) -> None:
    told = Told(create_signing_key(tmp_path).read_bytes())
    verifier = TokenVerifier(told.source(), ISSUER, AUDIENCE)
    token = sign_token(tmp_path, subject="a", tenant="acme")
    told.now += 301
    await asyncio.gather(*(verifier.authenticate(token) for _ in range(50)))
    assert told.fetched == 2


def test_a_file_that_stays_broken_is_believed_no_longer_than_others(tmp_path: Path) -> None:
    jwks, now = create_signing_key(tmp_path), [1000.0]
    source = KeySource(jwks, max_age=3600, clock=lambda: now[0])
    sound = jwks.read_bytes()
    now[0] += 7200
    source.refresh()
    assert source.in_force
    jwks.write_text("half a fi")
    for seconds, in_force in ((1800, True), (1801, False)):
        now[0] += seconds
        source.refresh()
        assert source.in_force == in_force
    jwks.write_bytes(sound)
    now[0] += 1
    source.refresh()
    assert source.in_force
    assert json.loads(source.document()) == json.loads(sound)


def test_issuers_are_named_with_their_keys() -> None:
    text = "mesh=grpcs://tenancy:50051,https://id.example=https://id.example/jwks"
    assert parse_issuers(text) == {
        "mesh": "grpcs://tenancy:50051",
        "https://id.example": "https://id.example/jwks",
    }
    assert parse_issuers("") == {}
    for wrong in ("mesh", "=x", "a=", "a=b,", "a=b,a=c", "a b=c"):
        with pytest.raises(JwksInvalid):
            parse_issuers(wrong)
    with pytest.raises(JwksInvalid, match="grpcs"):
        KeyReading().open("grpc://tenancy.example:50051")
