"""Files of keys: whole, their owner's alone, and never in an error."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from mesh.sealing.__main__ import main
from mesh.sealing.hashing import is_hash, is_hash_of, keyed_hash, keyed_hashes, salted_hash
from mesh.sealing.keyring import KeyRing, KeyRingError, add_key, create_keys, put_first, read_keys

KEY = base64.b64encode(b"k" * 32).decode()
RING = KeyRing({"one": b"1" * 32}, b"p" * 32)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_new_keys_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "home" / "sealing.keys"
    create_keys(path)
    keys = read_keys(path)
    create_keys(path)
    assert read_keys(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # the owner's alone
    assert list(path.parent.iterdir()) == [path]
    assert keys.peppers["pepper"] != keys.sealing[keys.first]
    assert repr(keys) == "KeyRing()"


def test_the_first_key_seals(tmp_path: Path) -> None:
    other = base64.b64encode(b"o" * 32).decode()
    path = written(tmp_path / "keys", f"# ours\n\npepper {other}\nnew {KEY}\nold {other}\n")
    keys = read_keys(path)
    assert keys.first == "new"
    assert dict(keys.sealing) == {"new": b"k" * 32, "old": b"o" * 32}
    assert dict(keys.peppers) == {"pepper": b"o" * 32}


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"one {KEY}\n",
        f"pepper {KEY}\n",
        f"one {KEY}\npepper {KEY}\none {KEY}\n",
        f"one {KEY[:-4]}\npepper {KEY}\n",
        f"one {KEY}x!\npepper {KEY}\n",
        f"One {KEY}\npepper {KEY}\n",
        f"one {KEY} more\npepper {KEY}\n",
        f"{KEY}\npepper {KEY}\n",
    ],
)
def test_a_file_that_is_not_of_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyRingError) as refused:
        read_keys(written(tmp_path / "keys", text))
    assert KEY[:8] not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "keys", f"one {KEY}\npepper {KEY}\n", mode)
    with pytest.raises(KeyRingError, match="mode 0600"):
        read_keys(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="cannot be read"):
        read_keys(tmp_path / "keys")


async def test_a_salted_hash_is_of_its_value_alone() -> None:
    hashes = [await salted_hash("hunter2") for _ in range(2)]
    assert hashes[0] != hashes[1]
    assert hashes[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert is_hash(hashes[0], keyed=False)
    assert await is_hash_of(hashes[1], "hunter2")
    assert not await is_hash_of(hashes[1], "hunter3")
    assert not await is_hash_of("no hash", "hunter2")


def test_a_keyed_hash_is_of_its_value_and_place() -> None:
    told = keyed_hash(RING, "abc", "acme", "codes", "code")
    assert told == keyed_hash(RING, "abc", "acme", "codes", "code")
    assert is_hash(told, keyed=True)
    others = [
        keyed_hash(RING, "abd", "acme", "codes", "code"),
        keyed_hash(RING, "abc", "beta", "codes", "code"),
        keyed_hash(RING, "eabc", "acme", "codes", "cod"),
        keyed_hash(KeyRing({"one": b"1" * 32}, b"q" * 32), "abc", "acme", "codes", "code"),
    ]
    assert len({told, *others}) == 1 + len(others)


def test_a_new_key_is_last_until_it_is_put_first(tmp_path: Path) -> None:
    path = written(tmp_path / "keys", f"# ours\none {KEY}\npepper {KEY}")
    sealing, hashing = add_key(path, hashes=False), add_key(path, hashes=True)
    keys = read_keys(path)
    assert (list(keys.sealing), list(keys.peppers)) == (["one", sealing], ["pepper", hashing])
    put_first(path, sealing)
    put_first(path, hashing)
    turned = read_keys(path)
    assert (list(turned.sealing), list(turned.peppers)) == ([sealing, "one"], [hashing, "pepper"])
    assert (turned.sealing, turned.peppers) == (keys.sealing, keys.peppers)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    for unknown in ("none", "#"):
        with pytest.raises(KeyRingError, match="has no key"):
            put_first(path, unknown)
    assert path.read_text() == before
    wrong = written(tmp_path / "wrong", f"one {KEY}\n")
    with pytest.raises(KeyRingError):
        add_key(wrong, hashes=True)
    assert wrong.read_text() == f"one {KEY}\n"


def test_a_hash_tells_its_key_and_those_of_older_keys_are_known() -> None:
    place = ("acme", "codes", "code")
    old = keyed_hash(RING, "abc", *place)
    turned = KeyRing({"one": b"1" * 32}, {"pepper-2": b"q" * 32, "pepper": b"p" * 32})
    new, known = keyed_hashes(turned, "abc", *place)
    assert (known, new) == (old, keyed_hash(turned, "abc", *place))
    assert new.startswith("hmac-sha256:pepper-2:")
    assert is_hash(new, keyed=True)
    assert not is_hash(new.replace("pepper-2", "pepper_2"), keyed=True)


@pytest.mark.parametrize(
    ("sealing", "peppers"),
    [
        ({"pepper-1": b"1" * 32}, b"p" * 32),
        ({"one": b"1" * 32}, {"two": b"p" * 32}),
        ({}, b"p" * 32),
    ],
)
def test_keys_seal_or_hash_by_their_names(sealing: Any, peppers: Any) -> None:
    with pytest.raises(KeyRingError):
        KeyRing(sealing, peppers)


@pytest.mark.parametrize(
    ("arguments", "order"),
    [(["--new-key"], "one,new,pepper"), (["--new-pepper"], "one,pepper,new"), ([], "one,pepper")],
)
def test_the_command_adds_a_key_and_prints_its_id(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    order: str,
) -> None:
    path = written(tmp_path / "keys", f"one {KEY}\npepper {KEY}\n")
    monkeypatch.setattr("sys.argv", ["sealing", str(path), *arguments])
    assert main() == 0
    new = capsys.readouterr().out.strip()
    keys = read_keys(path)
    assert ",".join([*keys.sealing, *keys.peppers]) == order.replace("new", new)
    monkeypatch.setattr("sys.argv", ["sealing", str(path), "--first", "nothing"])
    assert main() == 1
    assert "has no key 'nothing'" in capsys.readouterr().err
