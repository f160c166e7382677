"""FieldCryptoService: values sealed, opened and sealed again, one by one or as a stream."""

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from mesh.errors import Refusal
from mesh.server.call import current_call
from secmesh.crypto.v1 import field_crypto_service_pb2 as pb
from secmesh.crypto.v1.field_crypto_service_pb2_grpc import (
    FieldCryptoServiceServicer,
)
from services.crypto.field_crypto import FieldCrypto, Item, Results

_PARENT = "tenants/"
Sealed = TypeVar("Sealed", pb.EncryptResponse, pb.RewrapResponse)


class FieldCryptoServicer(FieldCryptoServiceServicer):
    """Answers with one result for each value, in the order of the request."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, crypto: FieldCrypto) -> None:
        self._crypto = crypto

    async def Encrypt(self, request: pb.EncryptRequest, _context: object) -> pb.EncryptResponse:
        """Seal; EncryptionDisabled, KeyDisabled, DependencyUnavailable refuse all of it."""
        tenant = request.parent.removeprefix(_PARENT)
        items = [(each.user_id, each.field, each.plaintext) for each in request.fields]
        results = await self._crypto.encrypt(tenant, request.table, items)
        return _sealed(pb.EncryptResponse(), results)

    async def Decrypt(self, request: pb.DecryptRequest, _context: object) -> pb.DecryptResponse:
        """Open; beside those of Encrypt, PermissionMissing and PurposeRefused refuse all."""
        tenant = request.parent.removeprefix(_PARENT)
        items = _items(request.fields)
        results = await self._crypto.decrypt(tenant, request.table, request.purpose, items)
        return _plain(pb.DecryptResponse(), results)

    async def Rewrap(self, request: pb.RewrapRequest, _context: object) -> pb.RewrapResponse:
        """Seal again; KeyDisabled, DependencyUnavailable refuse all."""
        tenant = request.parent.removeprefix(_PARENT)
        results = await self._crypto.rewrap(tenant, request.table, _items(request.fields))
        return _sealed(pb.RewrapResponse(), results)

    async def StreamFields(
        self, requests: AsyncIterator[pb.StreamFieldsRequest], context: object
    ) -> AsyncIterator[pb.StreamFieldsResponse]:
        """Answer each message by one; an operation that is refused is answered in band."""
        async for request in requests:
            results = [await self._operation(each, context) for each in request.operations]
            yield pb.StreamFieldsResponse(results=results)

    async def _operation(
        self, operation: pb.FieldOperation, context: object
    ) -> pb.FieldOperationResult:
        try:
            match operation.WhichOneof("operation"):
                case "encrypt":
                    encrypted = await self.Encrypt(operation.encrypt, context)
                    return pb.FieldOperationResult(encrypted=encrypted)
                case "decrypt":
                    decrypted = await self.Decrypt(operation.decrypt, context)
                    return pb.FieldOperationResult(decrypted=decrypted)
                case _:
                    rewrapped = await self.Rewrap(operation.rewrap, context)
                    return pb.FieldOperationResult(rewrapped=rewrapped)
        except Refusal as refusal:
            return pb.FieldOperationResult(error=refusal.status(current_call().request_id))


def _items(fields: Iterable[pb.SealedField]) -> list[Item]:
    return [(each.user_id, each.field, each.blob) for each in fields]


def _sealed(answer: Sealed, results: Results) -> Sealed:
    # Filled where they stand: a list of messages would be copied into the answer.
    add = answer.results.add
    for each in results:
        if isinstance(each, Refusal):
            add(error=each.status())
        else:
            add().blob = each
    return answer


def _plain(answer: pb.DecryptResponse, results: Results) -> pb.DecryptResponse:
    add = answer.results.add
    for each in results:
        if isinstance(each, Refusal):
            add(error=each.status())
        else:
            add().plaintext = each
    return answer
