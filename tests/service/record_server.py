"""A real server of the record contract: ``python -m tests.service.record_server URL KEYS``.

With ``--die`` the process kills itself after it committed its first named request and before
it answers.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from mesh.client import CallRefused, refusal_of
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE, create_signing_key, sign_token
from mesh.identity.token import TokenVerifier
from mesh.records.servicer import RecordServicer
from mesh.server.call import RequestKey
from mesh.server.garbage import kept_for_good
from mesh.server.serve import Server
from mesh.server.settings import ServerSettings
from mesh.sql.answers import Answers
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.unit.record_contract import PACKAGE, store_catalogue


class DyingAnswers(Answers):
    """Commits, and never answers."""

    async def once(
        self, key: RequestKey, request: Message, run: Callable[[], Awaitable[Message]]
    ) -> Message | bytes:
        await super().once(key, request, run)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process does nothing")


@dataclass
class Serving:
    """A server that is up, with the means to call it and to look into its store."""

    address: str
    keys: Path
    store: Store | None = None

    async def call(self, method: str, request: Any, subject: str = "ann", **claims: Any) -> Any:
        """Call a method of the contract's RecordService; raises CallRefused."""
        claims = {"tenant": "acme", "permissions": ("store.*.*",), **claims}
        token = sign_token(self.keys, subject=subject, **claims)
        path = f"/{PACKAGE}.RecordService/{method}"
        descriptor = store_catalogue().methods[path].descriptor
        answer = message_factory.GetMessageClass(descriptor.output_type)
        async with grpc.aio.insecure_channel(self.address) as channel:
            call: Any = channel.unary_unary(
                path, type(request).SerializeToString, answer.FromString
            )
            try:
                return await call(
                    request, metadata=(("authorization", f"Bearer {token}"),), timeout=20
                )
            except grpc.aio.AioRpcError as error:
                raise refusal_of(error) from error


async def build(
    url: str, keys: Path, answers: Callable[[Store], Answers | None] = Answers
) -> tuple[Server, Store]:
    """Put the server together."""
    engine = open_engine(url)
    store = Store(engine, Tables(store_catalogue()), page_key=b"k" * 32)
    await create_tables(engine, store.tables)

    async def ready() -> bool:
        return await store.ready()

    server = Server(
        ServerSettings(),
        store_catalogue(),
        TokenVerifier(keys / JWKS_FILE, ISSUER, AUDIENCE),
        RecordServicer(store_catalogue(), store).add_to,
        ready,
        engine.dispose,
        answers(store),
    )
    return server, store


@asynccontextmanager
async def serving(
    url: str, folder: Path, answers: Callable[[Store], Answers | None] = Answers
) -> AsyncIterator[Serving]:
    """Serve in this process on a free port."""
    keys = folder / "keys"
    create_signing_key(keys)
    server, store = await build(url, keys, answers)
    await server.start()
    try:
        yield Serving(server.address, keys, store)
    finally:
        await server.stop()


async def main(url: str, keys: str, *options: str) -> None:
    """Serve until a signal, or until the first named request."""
    with kept_for_good():
        server, _ = await build(url, Path(keys), DyingAnswers if "--die" in options else Answers)
    await server.run_until_signal()


__all__ = ["CallRefused", "DyingAnswers", "Serving", "build", "serving"]

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
