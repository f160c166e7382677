"""Calls of FieldCryptoService as they arrive from those who keep sealed values: large, and many."""

import asyncio
import os
from collections.abc import Sequence

import grpc

from benchmarks.sealing.service import TENANT, Sealing
from mesh.identifiers import new_uuid
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import config_service_pb2_grpc
from secmesh.crypto.v1 import field_crypto_service_pb2 as pb
from secmesh.options.v1.field_pb2 import TIER_DOUBLE, TIER_SEALED, Tier
from secmesh_client.aio import connect

USERS, FIELDS = 50, 10
"""Of one call: each field of each user."""
BATCH = USERS * FIELDS
VALUE_BYTES = 64
CALLERS = 4
"""Calls that are under way at once."""
_REQUESTS = 20
"""Different ones, each of other users."""
_PARENT = f"tenants/{TENANT}"
_TABLE, _PURPOSE = "customers", "benchmark"
_SERVICE = f"/{pb.DESCRIPTOR.package}.FieldCryptoService"
TIERS: dict[int, "Tier.ValueType"] = {2: TIER_SEALED, 3: TIER_DOUBLE}


class Load:
    """Requests made beforehand, and sent as bytes: what the client does shall weigh little."""

    def __init__(self, service: Sealing) -> None:
        self._channel = connect(service.address, token=service.token)
        self._sent = 0
        self._requests: dict[tuple[str, int], list[bytes]] = {}

    async def prepare(self) -> None:
        """Define the fields and their purpose, and seal what is to be opened.

        Raises AssertionError if anything is not opened as it was.
        """
        stub = config_service_pb2_grpc.ConfigServiceStub(self._channel)
        for tier in TIERS:
            for name in _names(tier):
                field = config.UserField(tier=TIERS[tier], padding=VALUE_BYTES)
                await stub.CreateUserField(
                    config.CreateUserFieldRequest(
                        parent=_PARENT, user_field=field, user_field_id=name
                    )
                )
        purpose = config.Purpose(fields=[name for tier in TIERS for name in _names(tier)])
        await stub.CreatePurpose(
            config.CreatePurposeRequest(parent=_PARENT, purpose=purpose, purpose_id=_PURPOSE)
        )
        for tier in TIERS:
            plain = [_encrypt(tier) for _ in range(_REQUESTS)]
            self._requests["encrypt", tier] = [each.SerializeToString() for each in plain]
            self._requests["decrypt", tier] = [await self._sealed(each) for each in plain]

    async def _sealed(self, request: pb.EncryptRequest) -> bytes:
        encrypt, decrypt = self._method("encrypt"), self._method("decrypt")
        sealed = pb.EncryptResponse.FromString(await encrypt(request.SerializeToString()))
        again = pb.DecryptRequest(parent=_PARENT, table=_TABLE, purpose=_PURPOSE)
        for field, result in zip(request.fields, sealed.results, strict=True):
            again.fields.add(user_id=field.user_id, field=field.field, blob=result.blob)
        answer = pb.DecryptResponse.FromString(await decrypt(again.SerializeToString()))
        opened = [each.plaintext for each in answer.results]
        assert opened == [each.plaintext for each in request.fields]
        return again.SerializeToString()

    async def run(self, operation: str, tier: int, calls: int) -> int:
        """Send so many calls; give the number of values."""
        method, requests = self._method(operation), self._requests[operation, tier]
        numbers = iter(range(self._sent, self._sent + calls))
        self._sent += calls

        async def caller() -> None:
            for number in numbers:
                await method(requests[number % len(requests)])

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return calls * BATCH

    async def close(self) -> None:
        """Let go of the channel."""
        await self._channel.close()

    def _method(self, operation: str) -> "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]":
        path = f"{_SERVICE}/{operation.capitalize()}"
        return self._channel.unary_unary(path, None, None)


def _names(tier: int) -> Sequence[str]:
    return [f"tier_{tier}_{number}" for number in range(FIELDS)]


def _encrypt(tier: int) -> pb.EncryptRequest:
    request = pb.EncryptRequest(parent=_PARENT, table=_TABLE)
    for _ in range(USERS):
        user = str(new_uuid())
        for name in _names(tier):
            # Padding adds a byte at least, so that a value of 63 is sealed as 64.
            request.fields.add(user_id=user, field=name, plaintext=os.urandom(VALUE_BYTES - 1))
    return request
