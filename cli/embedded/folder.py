"""The folder of the embedded mesh: its lock, keys and tokens."""

import fcntl
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import IO

from mesh.embedded.process import ChildFailed
from mesh.identity.keys import JWKS_FILE, create_signing_key, sign_token

TENANT = "acme"
PLATFORM = "platform"
"""The tenant of the mesh's own services."""
TOKEN_LIFETIME = timedelta(hours=12)
_SETUP_LIFETIME = timedelta(minutes=5)
_PAGE_KEY_BYTES = 32
READY_FILE = "ready.json"


class HomeTaken(Exception):
    """Another mesh uses the same folder."""


class Folder:
    """What lies in the folder; all of it is the user's alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def keys(self) -> Path:
        """Folder of the keys."""
        return self.path / "keys"

    @property
    def key_set(self) -> Path:
        """The public keys that tokens are verified by."""
        return self.keys / JWKS_FILE

    @property
    def log(self) -> Path:
        """Folder of the logs."""
        return self.path / "log"

    @property
    def token(self) -> Path:
        """File with the token of the user."""
        return self.path / "token"

    @property
    def page_key(self) -> Path:
        """File with what the tenancy processes seal page tokens by."""
        return self.keys / "page.key"

    @property
    def ready(self) -> Path:
        """What the READY line says, while a mesh is up."""
        return self.path / READY_FILE

    def take(self) -> None:
        """Make what is missing and keep others out. Raises HomeTaken and ChildFailed."""
        for folder in (self.path, self.log):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise HomeTaken(
                f"another `secmesh up` uses {self.path}; give this one its own SECMESH_HOME"
            ) from None
        try:
            create_signing_key(self.keys)
        except ValueError:
            raise ChildFailed(
                f"{self.keys} holds no usable signing key; remove it to have another made"
            ) from None
        if not self.page_key.exists():
            write_private(self.page_key, secrets.token_hex(_PAGE_KEY_BYTES))
        write_private(self.token, self._signed("operator", TENANT, TOKEN_LIFETIME))

    def leave(self) -> None:
        """Let others in."""
        self.ready.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def platform_token(self) -> str:
        """Give a token of who sets the mesh up, for some minutes."""
        return self._signed("setup", PLATFORM, _SETUP_LIFETIME)

    def _signed(self, subject: str, tenant: str, lifetime: timedelta) -> str:
        roles = ["admin", "platform"]
        return sign_token(self.keys, subject=subject, tenant=tenant, roles=roles, lifetime=lifetime)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone reads, whatever mode an older one had."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
