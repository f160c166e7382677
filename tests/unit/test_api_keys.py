"""API keys, the file that keeps what is known of them, and the count of wrong ones."""

import json
import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mesh.identity.api_key import ApiKey, ApiKeyMalformed
from mesh.identity.api_key_file import ApiKeyFile, KeyFileInvalid, KeyUnknown
from mesh.identity.attempts import FORGIVEN_SECONDS, MOST, Attempts

LATER = datetime.now(UTC) + timedelta(days=1)


def test_key_reads_back_and_shows_no_secret() -> None:
    key = ApiKey.generate()
    assert ApiKey.parse(key.text()) == key
    assert key.text().startswith(f"smk_{key.id}_")
    assert key.matches(key.digest())
    assert not ApiKey.generate().matches(key.digest())
    assert key.secret not in repr(key)


@given(st.integers(0, 68), st.characters())
def test_one_wrong_character_is_no_key(place: int, character: str) -> None:
    text = ApiKey("a" * 16, "b" * 40).text()
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        with pytest.raises(ApiKeyMalformed):
            ApiKey.parse(changed)


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeyFile:
    return ApiKeyFile(tmp_path / "keys" / "api_keys.json")


def path_of(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "api_keys.json"


def test_file_keeps_no_secret_and_is_private(keys: ApiKeyFile, tmp_path: Path) -> None:
    assert dict(keys.read()) == {}
    key = keys.add(tenant="acme", roles=("viewer",), label="ci", expire_time=LATER)
    content = path_of(tmp_path).read_text()
    assert key.secret not in content
    assert stat.S_IMODE(path_of(tmp_path).stat().st_mode) == 0o600
    record = keys.read()[key.id]
    assert key.matches(record.sha256)
    assert (record.tenant, record.roles, record.label) == ("acme", ("viewer",), "ci")
    assert (record.expire_time, record.state(datetime.now(UTC))) == (LATER, "active")
    assert record.state(LATER) == "expired"


def test_revocation_is_kept_and_final(keys: ApiKeyFile) -> None:
    key = keys.add(tenant="acme", roles=("viewer",), expire_time=LATER)
    first = keys.revoke(key.id)
    assert keys.revoke(key.id) == first == keys.read()[key.id]
    assert first.state(datetime.now(UTC)) == "revoked"
    with pytest.raises(KeyUnknown):
        keys.revoke("nobody")


@pytest.mark.parametrize(
    "change",
    [{"tenant": "A"}, {"roles": ("king",)}, {"permissions": ("all",)}, {"label": "a\nb"}],
    ids=str,
)
def test_what_no_key_can_have_is_not_kept(
    keys: ApiKeyFile, tmp_path: Path, change: dict[str, str]
) -> None:
    with pytest.raises(ValidationError):
        keys.add(**{"tenant": "acme", "expire_time": LATER, **change})  # type: ignore[arg-type] # wrong on purpose
    assert not path_of(tmp_path).exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"keys": [{}]}', b'{"keys": [], "more": 1}', b"\xff", b" " * (17 << 20)],
    ids=lambda content: repr(content[:12]),
)
def test_broken_file_is_refused_and_not_replaced(
    keys: ApiKeyFile, tmp_path: Path, content: bytes
) -> None:
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_bytes(content)
    with pytest.raises(KeyFileInvalid):
        keys.read()
    with pytest.raises(KeyFileInvalid):
        keys.add(tenant="acme", roles=("viewer",), expire_time=LATER)
    assert path_of(tmp_path).read_bytes() == content
    assert not list(path_of(tmp_path).parent.glob(".*"))


def test_one_id_twice_and_a_file_others_write_are_refused(keys: ApiKeyFile, tmp_path: Path) -> None:
    keys.add(tenant="acme", roles=("viewer",), expire_time=LATER)
    path = path_of(tmp_path)
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({"keys": whole["keys"] * 2}))
    with pytest.raises(KeyFileInvalid, match="twice"):
        keys.read()
    path.write_text(json.dumps(whole))
    path.chmod(0o620)
    with pytest.raises(KeyFileInvalid, match="written by others"):
        keys.read()


def _add_some(path: Path) -> None:
    for _ in range(10):
        ApiKeyFile(path).add(tenant="acme", roles=("viewer",), expire_time=LATER)


def test_writers_at_once_lose_nothing(keys: ApiKeyFile, tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    writers = [spawning.Process(target=_add_some, args=(path_of(tmp_path),)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(keys.read()) == 30


def test_attempts_are_forgiven_one_by_one() -> None:
    now = 1000.0
    attempts = Attempts(lambda: now)
    for _ in range(MOST):
        assert attempts.wait_seconds("a") == 0
        attempts.note("a")
    assert attempts.wait_seconds("a") == FORGIVEN_SECONDS
    assert attempts.wait_seconds("b") == 0
    now += FORGIVEN_SECONDS
    assert attempts.wait_seconds("a") == 0
    attempts.note("a")
    assert attempts.wait_seconds("a") == FORGIVEN_SECONDS
    now += MOST * FORGIVEN_SECONDS
    for _ in range(MOST):
        assert attempts.wait_seconds("a") == 0
        attempts.note("a")
