"""What the other services keep of a tenant that leaves: removed or shut, and counted, by stubs."""

from collections.abc import Sequence
from typing import Protocol

import grpc

from secmesh.crypto.v1.key_service_pb2 import DisableKeyRequest
from secmesh.crypto.v1.key_service_pb2_grpc import KeyServiceStub
from secmesh.inventory.v1.store_service_pb2 import GetStatsRequest, ResetAccountRequest
from secmesh.inventory.v1.store_service_pb2_grpc import StoreServiceStub
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh_client import CallRefused

_NOT_FOUND = "RESOURCE_NOT_FOUND"


class OtherStore(Protocol):
    """A service that keeps data of tenants; it is asked in the name of who calls."""

    async def leave(self, tenant: str) -> pb.OffboardedStore:
        """Remove or shut what can be; tell what remains. What is refused is told, not raised."""

    async def close(self) -> None:
        """Let go of its connection."""


class Unasked:
    """See ``OtherStore``: one that cannot be asked."""

    def __init__(self, store: str, note: str) -> None:
        self._store = store
        self._note = note

    async def leave(self, _tenant: str) -> pb.OffboardedStore:
        """Say that what remains is not known."""
        state = pb.OFFBOARDED_STATE_UNKNOWN
        return pb.OffboardedStore(store=self._store, state=state, note=self._note)

    async def close(self) -> None:
        """Do nothing."""


class InventoryStore:
    """See ``OtherStore``: records of accounts are removed, plans and assessments are counted."""

    store = "inventory"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stub = StoreServiceStub(channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def leave(self, tenant: str) -> pb.OffboardedStore:
        """Remove each account's rows; count those of plans and assessments, which stay."""
        parent = f"tenants/{tenant}"
        told = pb.OffboardedStore(store=self.store)
        try:
            for account in (await self._stub.GetStats(GetStatsRequest(parent=parent))).accounts:
                told.removed += await self._reset(parent, account.cloud_account_id)
            left = await self._stub.GetStats(GetStatsRequest(parent=parent))
        except CallRefused as refused:
            return _unknown(told, refused)
        told.remaining = sum(each.current_rows + each.past_rows for each in left.collections)
        told.state = pb.OFFBOARDED_STATE_REMAINS if told.remaining else pb.OFFBOARDED_STATE_REMOVED
        if told.remaining:
            told.note = "plans and assessments stay: no call removes them"
        return told

    async def _reset(self, parent: str, cloud_account_id: str) -> int:
        request = ResetAccountRequest(
            parent=parent,
            cloud_account_id=cloud_account_id,
            confirm_cloud_account_id=cloud_account_id,
        )
        try:
            return sum(each.rows for each in (await self._stub.ResetAccount(request)).deleted)
        except CallRefused as refused:
            if refused.reason == _NOT_FOUND:
                return 0
            raise


class CryptoStore:
    """See ``OtherStore``: the tenant's key is disabled, so that nothing sealed opens."""

    store = "crypto"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stub = KeyServiceStub(channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def leave(self, tenant: str) -> pb.OffboardedStore:
        """Disable the tenant's key; where there is none, nothing was ever sealed."""
        told = pb.OffboardedStore(store=self.store)
        name = f"tenants/{tenant}/keys/tenant-kek"
        try:
            await self._stub.DisableKey(DisableKeyRequest(name=name))
        except CallRefused as refused:
            if refused.reason != _NOT_FOUND:
                return _unknown(told, refused)
            told.state = pb.OFFBOARDED_STATE_REMOVED
            return told
        told.state = pb.OFFBOARDED_STATE_SHUT
        told.note = "persons are erased one by one, which destroys their keys for good"
        return told


async def all_leave(stores: Sequence[OtherStore], tenant: str) -> list[pb.OffboardedStore]:
    """Ask one after the other."""
    return [await each.leave(tenant) for each in stores]


def _unknown(told: pb.OffboardedStore, refused: CallRefused) -> pb.OffboardedStore:
    told.state = pb.OFFBOARDED_STATE_UNKNOWN
    # Reasons hold no data; messages might.
    told.note = f"refused: {refused.reason or refused.code.name}"
    return told
