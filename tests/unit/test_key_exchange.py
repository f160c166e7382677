"""The exchange of API keys for tokens, by a clock of the test's own."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from gateway.edge import key_exchange
from gateway.edge.key_exchange import KeyExchange, SigningKeyUnknown, key_of, require_known
from gateway.edge.key_file import FileKeys
from gateway.edge.key_refusals import ApiKeyExpired, ApiKeyInvalid, CredentialsAmbiguous
from mesh.errors import DependencyUnavailable
from mesh.identity.api_key_file import ApiKeyFile
from mesh.identity.attempts import MOST, Attempts
from mesh.identity.jwks import KeySource
from mesh.identity.keys import create_signing_key

KEY = "smk_a"


class Desk:
    """An exchange, its file, and the time."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.path = folder / "api_keys.json"
        self.file = ApiKeyFile(self.path)
        self.key_set = create_signing_key(folder)
        attempts = Attempts(lambda: self.now)
        self.exchange = KeyExchange([FileKeys(self.file)], folder, attempts, lambda: self.now)

    def new_key(self) -> tuple[str, str]:
        """Give a key's text and id."""
        expiry = datetime.now(UTC) + timedelta(days=1)
        key = self.file.add(tenant="acme", roles=("viewer",), expire_time=expiry)
        return key.text(), key.id

    def ask(self, key: str) -> str:
        return asyncio.run(self.exchange.exchange(key, "192.0.2.1"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_token_is_renewed_long_before_its_end(desk: Desk) -> None:
    key, _ = desk.new_key()
    first = desk.ask(key)
    desk.now += 59
    assert desk.ask(key) == first
    desk.now += 2
    second = desk.ask(key)
    assert second != first
    claims = jwt.decode(second, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300
    assert (claims["tenant"], claims["roles"], claims["permissions"]) == ("acme", ["viewer"], [])


def test_revoked_key_is_forgotten_and_the_others_are_not(desk: Desk) -> None:
    (key, key_id), (other, _) = desk.new_key(), desk.new_key()
    desk.ask(key)
    token = desk.ask(other)
    desk.file.revoke(key_id)
    with pytest.raises(ApiKeyInvalid):
        desk.ask(key)
    assert desk.ask(other) == token


def test_old_keys_in_use_shut_nobody_out(desk: Desk) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    expired = desk.file.add(tenant="acme", roles=("viewer",), expire_time=past).text()
    revoked, revoked_id = desk.new_key()
    desk.file.revoke(revoked_id)
    for _ in range(2 * MOST):
        with pytest.raises(ApiKeyExpired):
            desk.ask(expired)
        with pytest.raises(ApiKeyInvalid):
            desk.ask(revoked)
    assert desk.ask(desk.new_key()[0])


def test_few_tokens_are_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_exchange, "MAX_TOKENS", 2)
    keys = [desk.new_key()[0] for _ in range(3)]
    first, *_, last = [desk.ask(key) for key in keys]
    assert desk.ask(keys[2]) == last
    assert desk.ask(keys[0]) != first


def test_no_key_is_good_while_the_file_is_broken(desk: Desk) -> None:
    key, _ = desk.new_key()
    desk.ask(key)
    whole = desk.path.read_bytes()
    desk.path.write_bytes(b"{}}")
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            desk.ask(key)
    desk.path.unlink()
    desk.path.mkdir()
    with pytest.raises(DependencyUnavailable):
        desk.ask(key)
    desk.path.rmdir()
    with pytest.raises(ApiKeyInvalid):
        desk.ask(key)
    desk.path.write_bytes(whole)
    assert desk.ask(key)


def test_signing_key_must_be_known(desk: Desk, tmp_path: Path) -> None:
    require_known(tmp_path, KeySource(desk.key_set))
    another = KeySource(create_signing_key(tmp_path / "another"))
    for key_set in (another, None):
        with pytest.raises(SigningKeyUnknown):
            require_known(tmp_path, key_set)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer e.y.J"}, None),
        ({"authorization": f"Basic {KEY}"}, None),
        ({"authorization": f"Bearer {KEY}"}, KEY),
        ({"authorization": f"BEARER {KEY}"}, KEY),
        ({"x-api-key": KEY}, KEY),
        ({"x-api-key": ""}, ""),
    ],
    ids=str,
)
def test_where_a_key_stands(headers: dict[str, str], key: str | None) -> None:
    assert key_of(headers) == key


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY, "authorization": "Bearer e.y.J"},
        {"x-api-key": KEY, "authorization": ""},
        {"authorization": f"Bearer {KEY},Bearer e.y.J"},
        {"authorization": f"Bearer e.y.J, bearer {KEY}"},
    ],
    ids=str,
)
def test_two_credentials(headers: dict[str, str]) -> None:
    with pytest.raises(CredentialsAmbiguous):
        key_of(headers)
