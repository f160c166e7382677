"""`secmesh crypto verify-blob`: the service's values hold against the format, without its code."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from services.crypto.custody.key_file import KeyFile, create_key_file
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.suite.cobblestone import CHUNK, Key
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import (
    FieldRule,
    UserKey,
    inner_of_plaintext,
    seal_around,
    seal_field,
)
from services.crypto.suite.header import Tier
from services.crypto.suite.tokens import TokenKey, TokenPlace

USER = "0190f3f0-1111-7222-8333-444455556666"
HERE = Subject("test", "acme", USER, "users")
ADDRESS = FieldRule("address", 5, Tier.SEALED, Tier.SEALED, 64)
SSN = FieldRule("ssn", 8, Tier.DOUBLE, Tier.DOUBLE, 48)
SECRET = b"u" * 32
KEY = UserKey(3, Key(SECRET))
PLAINTEXT = b"078-05-1120"


def nested(folder: Path) -> bytes:
    """Seal by the service's own custodian of the app key."""
    (sealed,) = asyncio.run(
        LocalAppKeys(KeyFile(folder / "app.keys")).seal(
            "acme", [inner := inner_of_plaintext(7, HERE, SSN, PLAINTEXT)]
        )
    )
    return seal_around(KEY, inner, sealed)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with the user's key."""
    file = tmp_path / "user.key"
    file.write_text(base64.b64encode(SECRET).decode() + "\n")
    return file


@pytest.fixture
def blob(tmp_path: Path) -> bytes:
    """A value of tier 3, whose app key is in a file beside the user's."""
    create_key_file(tmp_path / "app.keys", ["v6", "v7"])
    return nested(tmp_path)


def run(blob: bytes | str, *arguments: str) -> Result:
    command = ["-o", "ndjson", "crypto", "verify-blob", "-", *arguments]
    return CliRunner().invoke(app, command, input=blob)


def place(name: str, **changed: str) -> list[str]:
    options = {"environment": "test", "tenant": "acme", "user": USER, "field": name} | changed
    return [f"--{name}={value}" for name, value in options.items()]


def test_the_form_of_a_value_is_told_without_keys(blob: bytes) -> None:
    done = run(base64.b64encode(blob).decode())
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "suite": "nested",
        "tier": 3,
        "padded": True,
        "field_number": 8,
        "key_version": 3,
        "app_key_version": 7,
        "bytes": 208,
        "verified": "form",
    }


@pytest.mark.parametrize("length", [0, 11, CHUNK, 2 * CHUNK + 1])
def test_a_value_of_tier_two_opens_in_its_place(length: int, key: Path) -> None:
    blob = seal_field(KEY, HERE, ADDRESS, bytes(length))
    done = run(blob, f"--key-file={key}", *place("address"))
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["verified"] == "value"


def test_a_value_of_tier_three_opens_layer_by_layer(blob: bytes, key: Path) -> None:
    options = [f"--key-file={key}", *place("ssn")]
    assert json.loads(run(blob, *options).stdout)["verified"] == "outer layer"
    both = run(blob, *options, f"--app-keys={key.parent}/app.keys")
    assert json.loads(both.stdout)["verified"] == "both layers"
    assert PLAINTEXT.decode() not in both.stdout + both.stderr
    missing = run(blob, *options, f"--app-keys={key}")
    assert (missing.exit_code, "no version 7" in " ".join(missing.stderr.split())) == (1, True)
    (key.parent / "app.keys").unlink()
    create_key_file(key.parent / "app.keys", ["v7"])
    wrong = run(blob, *options, f"--app-keys={key.parent}/app.keys")
    assert (wrong.exit_code, wrong.stdout) == (1, "")


def test_a_token_opens_for_no_user(key: Path) -> None:
    token = TokenKey(2, SECRET).token(TokenPlace("test", "acme", "users", "ssn", 8), PLAINTEXT)
    options = [f"--key-file={key}", *place("ssn", user="")]
    assert json.loads(run(token, *options).stdout)["verified"] == "token"
    changed = run(token[:-1] + b"\x00", *options)
    assert changed.exit_code == 1


@pytest.mark.parametrize("name", ["environment", "tenant", "user", "field", "table"])
def test_another_place_is_refused(name: str, blob: bytes, key: Path) -> None:
    other = {"user": "0190f3f0-1111-7222-8333-444455556667"}.get(name, "other")
    done = run(blob, f"--key-file={key}", *place("ssn", **{name: other}))
    assert done.exit_code == 1
    assert "does not open" in done.stderr


@pytest.mark.parametrize("bit", range(0, 16 * 8, 5))
def test_a_changed_header_is_refused(bit: int, blob: bytes, key: Path) -> None:
    changed = bytearray(blob)
    changed[bit // 8] ^= 1 << bit % 8
    options = [f"--key-file={key}", f"--app-keys={key.parent}/app.keys", *place("ssn")]
    assert run(bytes(changed), *options).exit_code == 1


@pytest.mark.parametrize("length", [0, 15, 16, 100, 207])
def test_a_value_that_was_cut_is_refused(length: int, blob: bytes, key: Path) -> None:
    done = run(blob[:length], f"--key-file={key}", *place("ssn"))
    assert done.exit_code == 1
    assert "refused" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--key-file=/nonexistent", *place("ssn")], "readable"),
        (["--key-file={key}", *place("ssn", tenant="")], "--tenant"),
        (["--key-file={key}", *place("ssn", user="ann")], "no UUID"),
        (["--key-file={short}", *place("ssn")], "32 bytes"),
    ],
)
def test_wrong_usage_is_named(
    arguments: list[str], said: str, blob: bytes, key: Path, tmp_path: Path
) -> None:
    (tmp_path / "short").write_text("AAAA")
    given = [each.format(key=key, short=tmp_path / "short") for each in arguments]
    done = run(blob, *given)
    assert (done.exit_code, said in done.stderr) == (2, True)
