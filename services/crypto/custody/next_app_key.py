"""Adds the next version of the app key to where its custodian keeps it; nothing there is changed.

What another adds at the same time is never lost: a file is locked, and of a secret only what was
read becomes what is written.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from services.crypto.custody.key_file import (
    FileKey,
    KeyFile,
    KeyFileError,
    key_lines,
    keys_of,
    process_owner,
    write_key_file,
)
from services.crypto.custody.local_app_keys import version_name
from services.crypto.suite.cobblestone import KEY_BYTES

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CURRENT = "AWSCURRENT"


def add_to_file(path: Path) -> str:
    """Add a version to a file of mode 0600; give its id. Raises KeyFileError."""
    with _locked(path):
        file = KeyFile(path)
        keys = file.keys()
        if file.principal != process_owner():
            # The new file would be this user's, and its custodian could not read it.
            raise KeyFileError(f"{path}: belongs to {file.principal}, who has to do this")
        name, more = _next(keys)
        write_key_file(path, more)
    return name


def add_to_secret(client: "SecretsManagerClient", secret: str) -> str:
    """Add a version to a secret of AWS Secrets Manager; give its id. Raises KeyFileError."""
    try:
        before = client.get_secret_value(SecretId=secret, VersionStage=_CURRENT)
        name, more = _next(keys_of(before["SecretString"].encode(), "the secret"))
        token = str(uuid4())
        stage = f"secmesh-{token}"
        client.put_secret_value(
            SecretId=secret,
            ClientRequestToken=token,
            SecretString="".join(key_lines(more)),
            VersionStages=[stage],
        )
        # Refused if another version became the current one since it was read.
        client.update_secret_version_stage(
            SecretId=secret,
            VersionStage=_CURRENT,
            RemoveFromVersionId=before["VersionId"],
            MoveToVersionId=token,
        )
        # A label of its own would keep the version for good.
        client.update_secret_version_stage(
            SecretId=secret, VersionStage=stage, RemoveFromVersionId=token
        )
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise KeyFileError(f"the secret could not be changed: {code}") from None
    except BotoCoreError as error:
        raise KeyFileError(f"the secret could not be changed: {type(error).__name__}") from None
    return name


def _next(keys: Mapping[str, FileKey]) -> tuple[str, dict[str, FileKey]]:
    """Give the id after the highest, and all keys with a new one of it."""
    numbers = [int(name[1:]) for name in keys if name[0] == "v" and name[1:].isdecimal()]
    name = version_name(max(numbers, default=0) + 1)
    return name, {**keys, name: FileKey(True, secrets.token_bytes(KEY_BYTES))}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others away who use this as well."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise KeyFileError(f"the file of keys cannot be read: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another put a new file in its place while this one waited.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                yield
                return
        finally:
            os.close(descriptor)
