"""The file that holds what is known of API keys, until a service keeps them."""

import contextlib
import fcntl
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from mesh.identity.api_key import ApiKey
from mesh.identity.permissions import is_pattern
from mesh.identity.roles import ROLES

MAX_BYTES = 16 << 20
Stamp = tuple[int, int, int, int]
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class KeyFileInvalid(ValueError):
    """The file cannot be used; says why and holds nothing of what is in it."""


class KeyUnknown(LookupError):
    """No key of the file has this id."""


class KeyRecord(BaseModel):
    """What is kept of one key: never its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[a-z2-7]{16}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    tenant: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{2,62}$")]
    """The one tenant whose resources exist for the key's holder."""
    roles: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    permissions: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    label: Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    create_time: AwareDatetime
    expire_time: AwareDatetime
    revoke_time: AwareDatetime | None = None

    @field_validator("roles")
    @classmethod
    def _roles_exist(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(roles) - ROLES.keys():
            raise ValueError(f"{min(unknown)!r} is no role")
        return roles

    @field_validator("permissions")
    @classmethod
    def _permissions_are_patterns(cls, permissions: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [each for each in permissions if not is_pattern(each)]:
            raise ValueError(f"{unknown[0]!r} is no permission pattern")
        return permissions

    def state(self, now: datetime) -> str:
        """Give ``revoked``, ``expired`` or ``active``."""
        if self.revoke_time is not None:
            return "revoked"
        return "expired" if self.expire_time <= now else "active"


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[KeyRecord] = []


class ApiKeyFile:
    """Reads and changes the file of keys; one that does not exist holds none.

    Writers take turns by a lock beside the file and replace it whole, readable and writable by
    its owner alone, so a reader never sees half of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def stamp(self) -> Stamp | None:
        """Give what changes with the file or its rights; None if there is none. Raises OSError."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)

    def read(self) -> Mapping[str, KeyRecord]:
        """Give what is kept of every key by its id. Raises KeyFileInvalid or OSError."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & WRITABLE_BY_OTHERS:
                    raise KeyFileInvalid("the file of API keys can be written by others")
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return MappingProxyType({})
        if len(content) > MAX_BYTES:
            raise KeyFileInvalid(f"the file of API keys is larger than {MAX_BYTES} bytes")
        return MappingProxyType(_parse(content))

    def add(
        self,
        *,
        tenant: str,
        expire_time: datetime,
        roles: tuple[str, ...] = (),
        permissions: tuple[str, ...] = (),
        label: str = "",
    ) -> ApiKey:
        """Make a key, keep its record and give it; nobody can show it again.

        Raises ValueError for what no key can have, KeyFileInvalid or OSError.
        """
        key = ApiKey.generate()
        record = KeyRecord(
            id=key.id,
            sha256=key.digest(),
            tenant=tenant,
            roles=roles,
            permissions=permissions,
            label=label,
            create_time=datetime.now(UTC),
            expire_time=expire_time,
        )
        with self._changing() as records:
            records[record.id] = record
        return key

    def revoke(self, key_id: str) -> KeyRecord:
        """End a key for ever, keeping its record; done twice it changes nothing.

        Raises KeyUnknown, KeyFileInvalid or OSError.
        """
        with self._changing() as records:
            record = records.get(key_id)
            if record is None:
                raise KeyUnknown(f"there is no API key {key_id!r}")
            if record.revoke_time is None:
                record = record.model_copy(update={"revoke_time": datetime.now(UTC)})
                records[key_id] = record
        return record

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, KeyRecord]]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._path.with_name(f"{self._path.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            records = dict(self.read())
            yield records
            self._replace(_Content(keys=list(records.values())).model_dump_json(indent=1))

    def _replace(self, content: str) -> None:
        partial = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # a revoked key must not come back after a power cut
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)


def _parse(content: bytes) -> dict[str, KeyRecord]:
    try:
        records = _Content.model_validate_json(content).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise KeyFileInvalid(f"the file of API keys is broken: {where}: {first['msg']}") from None
    by_id = {record.id: record for record in records}
    if len(by_id) != len(records):
        raise KeyFileInvalid("the file of API keys holds one id twice")
    return by_id
