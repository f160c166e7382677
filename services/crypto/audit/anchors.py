"""Keeps signed notes where whoever rules the database cannot change them."""

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from services.crypto.audit.note import digest

CHECKPOINTS, SEGMENTS, ERASURES = "checkpoints", "segments", "erasures"
_SUFFIX = ".note"
_SHORT = 16
_ERASURE = re.compile(rf"{ERASURES}/([a-z][a-z0-9-]*)\.([0-9a-f-]{{36}}){re.escape(_SUFFIX)}")


class AnchorFailed(Exception):
    """The second place did not take a note, or does not give those it has."""


class Anchors(Protocol):
    """A second place, in another trust domain than the database."""

    async def put(self, name: str, note: str) -> None:
        """Keep a note for good; one that is kept already stays. Raises AnchorFailed."""

    async def notes(self, kind: str) -> list[str]:
        """Give all notes of a kind that are kept, in the order of their names; AnchorFailed."""

    async def names(self, kind: str) -> list[str]:
        """Give the names of the notes of a kind that are kept, in their order; AnchorFailed."""

    async def note(self, name: str) -> str | None:
        """Give the note that was kept first by a name, None if none was; AnchorFailed."""


def checkpoint_name(size: int, note: str) -> str:
    """Name a checkpoint; another one of the same size has another name."""
    return f"{CHECKPOINTS}/{size:020d}-{digest(note)[:_SHORT]}{_SUFFIX}"


def segment_name(segment: str, note: str) -> str:
    """Name what is said of a segment."""
    return f"{SEGMENTS}/{segment}-{digest(note)[:_SHORT]}{_SUFFIX}"


def erasure_name(tenant: str, erasure_id: str) -> str:
    """Name the certificate of an erasure: there is one."""
    return f"{ERASURES}/{tenant}.{erasure_id}{_SUFFIX}"


def erasure_in(name: str) -> tuple[str, str] | None:
    """Read tenant and id of an erasure from the name of its certificate; None if it is none."""
    found = _ERASURE.fullmatch(name)
    return None if found is None else (found[1], found[2])


class FileAnchors:
    """A folder, such as a mount of another machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, note: str) -> None:
        """Keep a note for good, written once and flushed to the disk."""
        try:
            await asyncio.to_thread(_write_once, self._folder / name, note)
        except OSError as error:
            raise AnchorFailed(f"the folder of anchors: {error}") from error

    async def notes(self, kind: str) -> list[str]:
        """Give all notes of a kind."""
        try:
            return await asyncio.to_thread(read_notes, self._folder / kind)
        except OSError as error:
            raise AnchorFailed(f"the folder of anchors: {error}") from error

    async def names(self, kind: str) -> list[str]:
        """Give the names of the notes of a kind."""

        def listed() -> list[str]:
            try:
                files = sorted(each.name for each in (self._folder / kind).iterdir())
            except FileNotFoundError:
                # Nothing was ever kept.
                return []
            return [f"{kind}/{each}" for each in files if each.endswith(_SUFFIX)]

        try:
            return await asyncio.to_thread(listed)
        except OSError as error:
            raise AnchorFailed(f"the folder of anchors: {error}") from error

    async def note(self, name: str) -> str | None:
        """Give a note."""
        try:
            return await asyncio.to_thread((self._folder / name).read_text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AnchorFailed(f"the folder of anchors: {error}") from error


def read_notes(folder: Path) -> list[str]:
    """Give the notes in a folder. Raises OSError."""
    return [path.read_text() for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def _write_once(path: Path, note: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whole or not at all, and a name is never written a second time.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(file.name)
            path.chmod(0o400)
    # The name as well: what it says may be believed from now on.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Anchors:
    """A bucket with Object Lock: in COMPLIANCE mode nobody deletes or replaces a version early."""

    def __init__(self, client: Any, bucket: str, prefix: str, retention: timedelta) -> None:
        """Take a boto3 client of S3; the bucket was made with Object Lock."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._retention = retention

    async def put(self, name: str, note: str) -> None:
        """Keep a note until its retention ends."""
        asked = {
            "Bucket": self._bucket,
            "Key": self._prefix + name,
            "Body": note.encode(),
            "ContentType": "text/plain; charset=utf-8",
            "ChecksumAlgorithm": "SHA256",
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": datetime.now(UTC) + self._retention,
            "IfNoneMatch": "*",
        }
        try:
            await asyncio.to_thread(self._client.put_object, **asked)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "PreconditionFailed":
                raise AnchorFailed(f"the bucket of anchors: {error}") from error
        except BotoCoreError as error:
            raise AnchorFailed(f"the bucket of anchors: {error}") from error

    async def notes(self, kind: str) -> list[str]:
        """Give all notes of a kind, every version of each, those hidden by a deletion too."""
        try:
            return await asyncio.to_thread(lambda: list(self._read(f"{self._prefix}{kind}/")))
        except (ClientError, BotoCoreError) as error:
            raise AnchorFailed(f"the bucket of anchors: {error}") from error

    async def names(self, kind: str) -> list[str]:
        """Give the names of the notes of a kind, those hidden by a deletion too."""
        prefix = f"{self._prefix}{kind}/"
        try:
            found = await asyncio.to_thread(lambda: [key for key, _ in self._versions(prefix)])
        except (ClientError, BotoCoreError) as error:
            raise AnchorFailed(f"the bucket of anchors: {error}") from error
        return sorted({key.removeprefix(self._prefix) for key in found})

    async def note(self, name: str) -> str | None:
        """Give the oldest version of a note."""
        key = self._prefix + name

        def oldest() -> str | None:
            # The newest comes first; a longer name may begin with this one.
            versions = [version for found, version in self._versions(key) if found == key]
            return self._body(key, versions[-1]) if versions else None

        try:
            return await asyncio.to_thread(oldest)
        except (ClientError, BotoCoreError) as error:
            raise AnchorFailed(f"the bucket of anchors: {error}") from error

    def _read(self, prefix: str) -> Iterable[str]:
        return (self._body(key, version) for key, version in self._versions(prefix))

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
            for version in page.get("Versions", ()):
                yield version["Key"], version["VersionId"]

    def _body(self, key: str, version: str) -> str:
        answer = self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version)
        found: str = answer["Body"].read().decode()
        return found
