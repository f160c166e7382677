"""The `secmesh` command against a crypto service of tests, as a person types it."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner, Result

from cli.app import app
from mesh.identity.keys import sign_token


class Command:
    """Runs `secmesh` as ann, who may do anything to her tenant's data.

    Args:
        address: Of the service.
        keys: Folder of the key that signs her token.
        tenant: Hers.
    """

    def __init__(self, address: str, keys: Path, tenant: str) -> None:
        self._address = address
        self._keys = keys
        self._tenant = tenant

    async def run(self, *arguments: str, typed: str = "", **claims: Any) -> Result:
        """Run a command; ``claims`` are those of another token."""
        given = claims or {"roles": ["admin"]}
        token = sign_token(self._keys, subject="ann", tenant=self._tenant, **given)
        environment = {"SECMESH_ENDPOINT": self._address, "SECMESH_TOKEN": token}
        # The server answers on this loop meanwhile.
        return await asyncio.to_thread(
            CliRunner().invoke, app, arguments, input=typed, env=environment
        )

    async def json(self, *arguments: str, typed: str = "", **claims: Any) -> Any:
        """Give what a command that is done writes as JSON."""
        done = await self.run("-o", "json", *arguments, typed=typed, **claims)
        assert done.exit_code == 0, done.output
        return orjson.loads(done.stdout)
