"""Answers to requests that named themselves, kept so that each is done once (AIP-155)."""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import RequestIdReused
from mesh.sealing.envelope import Place, Sealer
from mesh.server.call import RequestKey
from mesh.sql.answer_table import (
    ANSWER,
    CALLER,
    DIGEST,
    EXPIRES,
    METHOD,
    REQUEST_ID,
    SALT,
    TENANT,
)
from mesh.sql.answer_table import NAME as ANSWERS
from mesh.sql.secrets import drop_secrets
from mesh.sql.store import Store

RETENTION = timedelta(days=1)
"""How long an answer is given again; the requests' contracts say so."""
_SALT_BYTES = 16
_LABEL = b"secmesh answered request"
_SWEEP = 100
"""Expired rows that one request removes at most."""


def _now() -> int:
    """Give the microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Answers:
    """Runs each named request once, in one transaction with what it writes."""

    def __init__(self, store: Store, clock: Callable[[], int] = _now) -> None:
        """Keep the answers in a store whose contract has such requests."""
        if store.tables.answers is None:
            raise ValueError("no request of this contract has a request_id")
        self._store = store
        self._table = store.tables.answers
        self._clock = clock
        # Answers show what the store keeps sealed.
        self._keys = store.tables.keys
        self._sealer = None if self._keys is None else Sealer(self._keys)

    async def once(
        self, key: RequestKey, request: Message, run: Callable[[], Awaitable[Message]]
    ) -> Message | bytes:
        """Run a request and keep its answer, or give the answer that was kept, serialized.

        A request of the same key that runs already is waited for. What ``run`` raises undoes
        all it wrote and is not kept: the request can be sent again. RequestIdReused if the
        key stands for a request with another content. Kept are a digest of the request,
        salted, and the answer without its secrets: sealed where the store seals values.
        """
        content = _content(request)
        async with self._store.shared_transaction(key.tenant) as connection:
            await self._sweep(connection, key)
            salt = os.urandom(_SALT_BYTES)
            if not await self._claim(connection, key, salt, self._digests(salt, content)[0]):
                return await self._kept(connection, key, content)
            answer = await run()
            kept: Message = type(answer)()
            kept.CopyFrom(answer)
            drop_secrets(kept)
            # Empty messages are bytes too: the row is there, that is enough.
            statement = sa.update(self._table).where(*self._is(key))
            await connection.execute(statement.values({ANSWER: self._closed(key, kept)}))
            return answer

    async def _claim(
        self, connection: AsyncConnection, key: RequestKey, salt: bytes, digest: bytes
    ) -> bool:
        """Take the key; waits for a transaction that has it. False if it is another's."""
        make = sqlite.insert if self._store.database == "sqlite" else postgresql.insert
        values = {
            **dict(zip((TENANT, CALLER, METHOD, REQUEST_ID), _values(key), strict=True)),
            SALT: salt,
            DIGEST: digest,
            ANSWER: b"",
            EXPIRES: self._clock() + RETENTION // timedelta(microseconds=1),
        }
        statement = make(self._table).values(values).on_conflict_do_nothing()
        taken = await connection.execute(statement.returning(self._table.c[REQUEST_ID]))
        return taken.one_or_none() is not None

    async def _kept(self, connection: AsyncConnection, key: RequestKey, content: bytes) -> bytes:
        columns = self._table.c
        statement = sa.select(columns[SALT], columns[DIGEST], columns[ANSWER])
        salt, digest, answer = (await connection.execute(statement.where(*self._is(key)))).one()
        if not any(hmac.compare_digest(digest, each) for each in self._digests(salt, content)):
            raise RequestIdReused
        return self._opened(key, bytes(answer))

    def _digests(self, salt: bytes, content: bytes) -> Sequence[bytes]:
        """Give the digest of a request first, then those that keys before the present one made."""
        # What is in a request may be easy to guess: with a key, nobody can try it out.
        if self._keys is None:
            return [hashlib.sha256(salt + content).digest()]
        peppers = self._keys.peppers.values()
        return [hmac.digest(each, _LABEL + salt + content, "sha256") for each in peppers]

    def _closed(self, key: RequestKey, answer: Message) -> bytes:
        content = answer.SerializeToString()
        if self._sealer is None:
            return content
        return self._sealer.seal(content, _place(key)).encode()

    def _opened(self, key: RequestKey, answer: bytes) -> bytes:
        if self._sealer is None:
            return answer
        return self._sealer.open(answer.decode("ascii", "replace"), _place(key))

    async def _sweep(self, connection: AsyncConnection, key: RequestKey) -> None:
        """Remove some expired rows of the tenant, and that of the key if it is one."""
        table = self._table
        keys = [table.c[name] for name in (TENANT, CALLER, METHOD, REQUEST_ID)]
        expired = sa.and_(table.c[TENANT] == key.tenant, table.c[EXPIRES] <= self._clock())
        await connection.execute(sa.delete(table).where(*self._is(key), expired))
        # Rows that another request removes right now are not waited for.
        some = sa.select(*keys).where(expired).limit(_SWEEP).with_for_update(skip_locked=True)
        await connection.execute(sa.delete(table).where(sa.tuple_(*keys).in_(some)))

    def _is(self, key: RequestKey) -> list[sa.ColumnElement[bool]]:
        names = (TENANT, CALLER, METHOD, REQUEST_ID)
        pairs: Any = zip(names, _values(key), strict=True)
        return [self._table.c[name] == value for name, value in pairs]


def _values(key: RequestKey) -> tuple[str, ...]:
    # One UUID can be written in capitals too (RFC 9562, 4).
    return key.tenant, key.caller, key.method, key.request_id.lower()


def _place(key: RequestKey) -> Place:
    """Give where an answer stands."""
    return Place(key.tenant, ANSWERS, json.dumps(_values(key)), ANSWER)


def _content(request: Message) -> bytes:
    """Write what a request asks for, without its own id."""
    asked: Message = type(request)()
    asked.CopyFrom(request)
    asked.ClearField(REQUEST_ID)
    return asked.SerializeToString(deterministic=True)
