"""Second places for checkpoints: a folder, and a bucket with Object Lock."""

import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from services.crypto.audit.anchors import (
    ERASURES,
    AnchorFailed,
    FileAnchors,
    S3Anchors,
    checkpoint_name,
    erasure_in,
    erasure_name,
    segment_name,
)
from services.crypto.audit.note import Checkpoint, Signer

_SIGNER = Signer("audit.test", b"s" * 32)
_LOCKED = timedelta(days=30)


def _note(size: int, root: bytes = b"r") -> str:
    return _SIGNER.sign(Checkpoint("audit.test", size, root * 32).text())


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """S3 in a process of its own: moto's state is the process's, and other tests have theirs."""
    command = [sys.executable, "-m", "mesh.embedded.aws"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline().removeprefix("LISTENING "))["endpoint"]
        process.terminate()


@pytest.fixture
def client(endpoint: str) -> Iterator[Any]:
    made = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield made
    made.close()


@pytest.fixture
def bucket(client: Any) -> str:
    name = f"anchors-{uuid.uuid4()}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def test_names_sort_by_size_and_tell_notes_apart() -> None:
    names = [checkpoint_name(size, _note(size)) for size in (9, 10, 1000)]
    assert names == sorted(names)
    assert checkpoint_name(9, _note(9)) != checkpoint_name(9, _note(9, b"x"))
    assert segment_name("2026-01", _note(1)).startswith("segments/2026-01-")


async def test_a_folder_keeps_the_first_of_a_name_for_good(tmp_path: Path) -> None:
    anchors = FileAnchors(tmp_path / "kept")
    assert await anchors.notes("checkpoints") == []
    for size in (10, 9):
        await anchors.put(checkpoint_name(size, _note(size)), _note(size))
    await anchors.put(checkpoint_name(9, _note(9)), "another")
    assert await anchors.notes("checkpoints") == [_note(9), _note(10)]
    files = sorted((tmp_path / "kept" / "checkpoints").iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o400}


async def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    anchors = FileAnchors(tmp_path / "file")
    for failing in (
        anchors.put("checkpoints/1", _note(1)),
        anchors.names("checkpoints"),
        anchors.note("checkpoints/1"),
    ):
        with pytest.raises(AnchorFailed, match="folder of anchors"):
            await failing


async def test_a_bucket_locks_what_it_keeps(client: Any, bucket: str) -> None:
    anchors = S3Anchors(client, bucket, "crypto/", _LOCKED)
    name = checkpoint_name(9, _note(9))
    await anchors.put(name, _note(9))
    held = client.head_object(Bucket=bucket, Key=f"crypto/{name}")
    assert held["ObjectLockMode"] == "COMPLIANCE"
    left = held["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert _LOCKED - timedelta(hours=1) < left <= _LOCKED
    version = held["VersionId"]
    with pytest.raises(ClientError):
        client.delete_object(Bucket=bucket, Key=f"crypto/{name}", VersionId=version)


async def test_a_note_hidden_by_a_deletion_is_still_read(client: Any, bucket: str) -> None:
    anchors = S3Anchors(client, bucket, "crypto/", _LOCKED)
    for size in (10, 9):
        await anchors.put(checkpoint_name(size, _note(size)), _note(size))
        await anchors.put(checkpoint_name(size, _note(size)), _note(size))
    await anchors.put(segment_name("2026-01", _note(1)), _note(1))
    client.delete_object(Bucket=bucket, Key=f"crypto/{checkpoint_name(9, _note(9))}")
    notes = await anchors.notes("checkpoints")
    assert set(notes) == {_note(9), _note(10)}
    assert await anchors.notes("segments") == [_note(1)]


async def test_certificates_are_found_by_their_names(
    client: Any, bucket: str, tmp_path: Path
) -> None:
    tenant, erasure_id = "acme-1", "0199a000-0000-7000-8000-000000000001"
    name, other = erasure_name(tenant, erasure_id), checkpoint_name(9, _note(9))
    assert erasure_in(name) == (tenant, erasure_id)
    assert erasure_in(other) is None
    for place in (
        FileAnchors(tmp_path / "kept"),
        S3Anchors(client, bucket, "crypto/", _LOCKED),
    ):
        assert await place.names(ERASURES) == []
        assert await place.note(name) is None
        for kept in (_note(1), _note(2)):
            await place.put(name, kept)
            await place.put(other, kept)
        assert await place.names(ERASURES) == [name]
        assert await place.note(name) == _note(1)
    client.delete_object(Bucket=bucket, Key=f"crypto/{name}")
    assert await place.names(ERASURES) == [name]
    # Whatever was put over it is not what was kept first.
    client.put_object(Bucket=bucket, Key=f"crypto/{name}", Body=_note(3).encode())
    assert await place.note(name) == _note(1)


async def test_a_bucket_that_is_not_there_says_so(client: Any) -> None:
    anchors = S3Anchors(client, "absent", "", _LOCKED)
    with pytest.raises(AnchorFailed, match="bucket of anchors"):
        await anchors.put("checkpoints/1", _note(1))
    with pytest.raises(AnchorFailed, match="bucket of anchors"):
        await anchors.notes("checkpoints")
    with pytest.raises(AnchorFailed, match="bucket of anchors"):
        await anchors.names("checkpoints")
    with pytest.raises(AnchorFailed, match="bucket of anchors"):
        await anchors.note("checkpoints/1")
