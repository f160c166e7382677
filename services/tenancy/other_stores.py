"""What the other services keep of a tenant that leaves: removed and counted, by their stubs."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh_client import CallRefused

_STEPS = 10
"""Calls of one service in one of ours: each works for half a minute at most."""
_NOBODY = "not asked: no caller's token, and none of the service's own that can be read"
_UNFINISHED = (pb.OFFBOARDED_STATE_REMAINS, pb.OFFBOARDED_STATE_UNKNOWN)


class OtherStore(Protocol):
    """A service that keeps data of tenants."""

    async def leave(self, tenant: str, *, count: bool = False) -> pb.OffboardedStore:
        """Remove what can be, or count it; tell what remains. Refusals are told, not raised."""

    async def close(self) -> None:
        """Let go of its connection."""


class Unasked:
    """See ``OtherStore``: one that nobody gave the address of."""

    def __init__(self, store: str, note: str) -> None:
        self._store = store
        self._note = note

    async def leave(self, _tenant: str, *, count: bool = False) -> pb.OffboardedStore:  # noqa: ARG002 - either way
        """Say that nobody was asked."""
        state = pb.OFFBOARDED_STATE_UNASKED
        return pb.OffboardedStore(store=self._store, state=state, note=self._note)

    async def close(self) -> None:
        """Do nothing."""


class RemovingStore:
    """See ``OtherStore``: one that serves the TenantRemovalService of its contract."""

    def __init__(
        self, store: str, channel: grpc.aio.Channel, stub: Callable[[grpc.aio.Channel], Any]
    ) -> None:
        self._store = store
        self._channel = channel
        self._stub = stub(channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def leave(self, tenant: str, *, count: bool = False) -> pb.OffboardedStore:
        """Ask until all is done, for some minutes at most."""
        told = pb.OffboardedStore(store=self._store)
        request = RemoveTenantRequest(
            name=f"tenants/{tenant}", confirm_tenant_id=tenant, validate_only=count
        )
        for _ in range(1 if count else _STEPS):
            try:
                answer = await self._stub.RemoveTenant(request)
            except CallRefused as refused:
                told.state = pb.OFFBOARDED_STATE_UNKNOWN
                # Reasons hold no data; messages might.
                told.note = f"refused: {refused.reason or refused.code.name}"
                return told
            except (LookupError, OSError, ValueError):
                # Raised by what gives the token.
                told.state = pb.OFFBOARDED_STATE_UNKNOWN
                told.note = _NOBODY
                return told
            told.removed += sum(each.rows for each in answer.removed)
            _tell(told, answer)
            if answer.done:
                break
        return told


async def all_leave(
    stores: Sequence[OtherStore], tenant: str, *, count: bool = False
) -> list[pb.OffboardedStore]:
    """Ask one after the other."""
    return [await each.leave(tenant, count=count) for each in stores]


def is_left(told: pb.OffboardedStore) -> bool:
    """Tell whether nothing more can be removed in a place."""
    return told.state not in _UNFINISHED


def _tell(told: pb.OffboardedStore, answer: RemoveTenantResponse) -> None:
    """Write down how a place is left by its last answer."""
    told.remaining = sum(each.rows for each in answer.remaining)
    del told.remainders[:]
    told.remainders.extend(answer.remainders)
    told.ClearField("remains_until")
    if not answer.done:
        told.state = pb.OFFBOARDED_STATE_REMAINS
    elif not answer.remainders:
        told.state = pb.OFFBOARDED_STATE_REMOVED
    elif all(each.HasField("until") for each in answer.remainders):
        told.state = pb.OFFBOARDED_STATE_LEAVING
        told.remains_until.CopyFrom(max((each.until for each in answer.remainders), key=_moment))
    else:
        told.state = pb.OFFBOARDED_STATE_KEPT


def _moment(stamp: Timestamp) -> tuple[int, int]:
    return stamp.seconds, stamp.nanos
