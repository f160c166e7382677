"""The next version of the app key is added, and nothing that is there is lost."""

import argparse
import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.identifiers import new_uuid
from mesh.server.deployable import CommandFailed
from services.crypto.custody.key_file import (
    FileKey,
    KeyFile,
    KeyFileError,
    create_key_file,
    key_lines,
    keys_of,
)
from services.crypto.custody.next_app_key import add_to_file, add_to_secret
from services.crypto.keys_command import CREATE_KEYS
from services.crypto.settings import CryptoSettings

REGION = "us-east-1"
NEXT = argparse.Namespace(next_app_key=True)
ONE = {"v1": FileKey(True, b"1" * 32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_key_file(tmp_path / "app.keys", ["v1"])
    return tmp_path / "app.keys"


async def test_the_command_adds_a_version_to_the_file_and_changes_no_other(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(KeyFile(path).keys())
    settings = CryptoSettings(app_keys=path)
    await CREATE_KEYS.run(settings, NEXT)
    await CREATE_KEYS.run(settings, NEXT)
    assert capsys.readouterr().out == f"added v2 to {path}\nadded v3 to {path}\n"
    after = KeyFile(path).keys()
    assert list(after) == ["v1", "v2", "v3"]
    assert after["v1"] == before["v1"]
    assert len({key.secret for key in after.values()}) == 3
    assert await asyncio.to_thread(_files, path.parent) == {"app.keys": 0o600}


def _files(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}


def test_what_is_added_at_once_is_added_one_after_the_other(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: add_to_file(path), range(24)))
    assert sorted(made) == sorted(f"v{number}" for number in range(2, 26))
    assert KeyFile(path).keys().keys() == {"v1", *made}


def test_a_number_is_never_given_again(path: Path) -> None:
    kept = {"v1": FileKey(True, b"1" * 32), "v7": FileKey(False, b"7" * 32)}
    path.write_text("".join(key_lines(kept)))
    assert add_to_file(path) == "v8"
    assert {name: KeyFile(path).keys()[name] for name in kept} == kept


def test_a_file_that_cannot_be_used_is_left_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        add_to_file(path.with_name("none"))
    before = path.read_bytes()
    with monkeypatch.context() as another:
        another.setattr(os, "geteuid", lambda: 4242)
        with pytest.raises(KeyFileError, match="belongs to uid:"):
            add_to_file(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="0600"):
        add_to_file(path)
    assert path.read_bytes() == before


async def test_the_sealers_file_is_named_or_nothing_is_made(tmp_path: Path) -> None:
    settings = CryptoSettings(sealer_socket=tmp_path / "socket", SECMESH_HOME=tmp_path)
    with pytest.raises(CommandFailed, match="SECMESH_CRYPTO_APP_KEYS"):
        await CREATE_KEYS.run(settings, NEXT)
    assert await asyncio.to_thread(_files, tmp_path) == {}


@pytest.fixture
def client(aws: AwsEndpoint) -> Iterator[Any]:
    made = boto3.client("secretsmanager", region_name=REGION, endpoint_url=aws.url)
    yield made
    made.close()


def kept_in(client: Any, secret: str) -> dict[str, FileKey]:
    # moto moves the label, and gives what was current before unless it is asked by label.
    found = client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
    return dict(keys_of(found["SecretString"].encode(), "the secret"))


async def test_the_command_adds_a_version_to_the_secret(
    client: Any, aws: AwsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = client.create_secret(Name=new_uuid(), SecretString="".join(key_lines(ONE)))["ARN"]
    settings = CryptoSettings(SECRETS_MANAGER_APP_KEY=secret, AWS_ENDPOINT_URL=aws.url)
    await CREATE_KEYS.run(settings, NEXT)
    assert capsys.readouterr().out == "added v2 to the secret\n"
    after = kept_in(client, secret)
    assert (list(after), after["v1"]) == (["v1", "v2"], ONE["v1"])
    stages = client.describe_secret(SecretId=secret)["VersionIdsToStages"].values()
    assert not [stage for each in stages for stage in each if stage.startswith("secmesh-")]


def test_a_secret_that_another_changed_meanwhile_is_left_to_the_other(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = client.create_secret(Name=new_uuid(), SecretString="".join(key_lines(ONE)))["ARN"]
    put, other = client.put_secret_value, {**ONE, "v2": FileKey(True, b"2" * 32)}

    def put_after_another(**arguments: Any) -> Any:
        put(SecretId=secret, SecretString="".join(key_lines(other)))
        return put(**arguments)

    monkeypatch.setattr(client, "put_secret_value", put_after_another)
    with pytest.raises(KeyFileError, match="could not be changed"):
        add_to_secret(client, secret)
    assert kept_in(client, secret) == other
    with pytest.raises(KeyFileError, match="ResourceNotFoundException"):
        add_to_secret(client, new_uuid())
