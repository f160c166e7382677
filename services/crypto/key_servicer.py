"""KeyService: versions of keys, and their rotation."""

from mesh.contract.names import NamePattern, tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.sql.paging import PageTokens, page_limit
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1.key_service_pb2_grpc import KeyServiceServicer
from services.crypto.keys.key_listing_store import (
    APP_KEY,
    OF_FIELDS,
    TENANT_KEK,
    USER_DEK,
    ShownKey,
    ShownVersion,
    shown_key,
    shown_keys,
)
from services.crypto.keys.key_stops import KeyStops
from services.crypto.rotation.rotation import PATTERN, KeyType, Rotation
from services.crypto.rotation.rotations import Rotations

KEY = NamePattern("tenants/{tenant}/keys/{key}")
_TYPES = {
    APP_KEY: key_pb2.KEY_TYPE_APP_KEY,
    TENANT_KEK: key_pb2.KEY_TYPE_TENANT_KEK,
    USER_DEK: key_pb2.KEY_TYPE_USER_DEK,
    **{
        prefix: key_pb2.KeyType.Value(f"KEY_TYPE_{used_for.upper()}_KEY")
        for prefix, used_for in OF_FIELDS.items()
    },
}
"""By what ids begin with."""


class KeyServicer(KeyServiceServicer):
    """Between messages, keys and their rotations."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self,
        transactions: Transactions,
        rotations: Rotations,
        stops: KeyStops,
        tokens: PageTokens,
    ) -> None:
        self._transactions = transactions
        self._stops = stops
        self._rotations = rotations
        self._tokens = tokens

    async def GetKey(self, request: pb.GetKeyRequest, _context: object) -> key_pb2.Key:
        """Give the key; ResourceNotFound."""
        return await self._key(request.name)

    async def DisableKey(self, request: pb.DisableKeyRequest, _context: object) -> key_pb2.Key:
        """Give the key as it is then; ResourceNotFound."""
        await self._stops.disable(*_ids(KEY, request.name))
        return await self._key(request.name)

    async def EnableKey(self, request: pb.EnableKeyRequest, _context: object) -> key_pb2.Key:
        """Give the key as it is then; ResourceNotFound."""
        await self._stops.enable(*_ids(KEY, request.name))
        return await self._key(request.name)

    async def _key(self, name: str) -> key_pb2.Key:
        tenant, key_id = _ids(KEY, name)
        async with self._transactions.connection(tenant) as connection:
            found = await shown_key(connection, tenant, key_id)
        if found is None:
            raise ResourceNotFound(name)
        return _key(tenant, found)

    async def ListKeys(self, request: pb.ListKeysRequest, _context: object) -> pb.ListKeysResponse:
        """Give a page of keys; PageTokenInvalid."""
        tenant, limit = _tenant(request.parent), page_limit(request.page_size)
        asked = ("keys", tenant)
        after = self._tokens.read(asked, request.page_token)[0] if request.page_token else ""
        async with self._transactions.connection(tenant) as connection:
            found = await shown_keys(connection, tenant, after, limit + 1)
        response = pb.ListKeysResponse(keys=[_key(tenant, each) for each in found[:limit]])
        if len(found) > limit:
            response.next_page_token = self._tokens.write(asked, [found[limit - 1].key_id])
        return response

    async def PlanRotation(
        self, request: pb.PlanRotationRequest, _context: object
    ) -> key_pb2.KeyRotation:
        """Give the plan; ResourceNotFound."""
        name = key_pb2.KeyType.Name(request.key_type).removeprefix("KEY_TYPE_").lower()
        return _rotation(await self._rotations.plan(_tenant(request.parent), KeyType(name)))

    async def RunRotation(
        self, request: pb.RunRotationRequest, _context: object
    ) -> key_pb2.KeyRotation:
        """Give the rotation as it is then; see ``Rotations.run``."""
        return _rotation(await self._rotations.run(*_ids(PATTERN, request.name)))

    async def PauseRotation(
        self, request: pb.PauseRotationRequest, _context: object
    ) -> key_pb2.KeyRotation:
        """Give the rotation as it is then; see ``Rotations.pause``."""
        return _rotation(await self._rotations.pause(*_ids(PATTERN, request.name)))

    async def ResumeRotation(
        self, request: pb.ResumeRotationRequest, _context: object
    ) -> key_pb2.KeyRotation:
        """Give the rotation as it is then; see ``Rotations.resume``."""
        return _rotation(await self._rotations.resume(*_ids(PATTERN, request.name)))

    async def RollBackRotation(
        self, request: pb.RollBackRotationRequest, _context: object
    ) -> key_pb2.KeyRotation:
        """Give the rotation that undoes the other; see ``Rotations.roll_back``."""
        return _rotation(await self._rotations.roll_back(*_ids(PATTERN, request.name)))

    async def GetRotation(
        self, request: pb.GetRotationRequest, _context: object
    ) -> key_pb2.KeyRotation:
        """Give the rotation; ResourceNotFound."""
        return _rotation(await self._rotations.get(*_ids(PATTERN, request.name)))

    async def ListRotations(
        self, request: pb.ListRotationsRequest, _context: object
    ) -> pb.ListRotationsResponse:
        """Give a page of rotations; PageTokenInvalid."""
        tenant, limit = _tenant(request.parent), page_limit(request.page_size)
        asked = ("key_rotations", tenant)
        before = self._tokens.read(asked, request.page_token)[0] if request.page_token else None
        found = await self._rotations.page(tenant, before, limit + 1)
        response = pb.ListRotationsResponse(
            key_rotations=[_rotation(each) for each in found[:limit]]
        )
        if len(found) > limit:
            response.next_page_token = self._tokens.write(asked, [found[limit - 1].rotation_id])
        return response


def _tenant(name: str) -> str:
    tenant = tenant_of(name)
    if tenant is None:
        raise FieldInvalid.of("parent", "is no name of a tenant", "NAME_INVALID")
    return tenant


def _ids(pattern: NamePattern, name: str) -> tuple[str, str]:
    ids = pattern.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    tenant, last = ids
    return tenant, last


def _key(tenant: str, key: ShownKey) -> key_pb2.Key:
    return key_pb2.Key(
        name=KEY.format(tenant, key.key_id),
        key_type=next(kind for prefix, kind in _TYPES.items() if key.key_id.startswith(prefix)),
        versions=[_version(each) for each in key.versions],
    )


def _version(version: ShownVersion) -> key_pb2.KeyVersion:
    shown = key_pb2.KeyVersion(
        version=version.version,
        state=key_pb2.KeyState.Value(f"KEY_STATE_{version.state.name}"),
        kms_key_id=version.kms_key_id,
        tenant_key_version=version.tenant_key_version,
    )
    shown.create_time.FromDatetime(version.created_at)
    return shown


def _rotation(rotation: Rotation) -> key_pb2.KeyRotation:
    undone = rotation.rolls_back
    shown = key_pb2.KeyRotation(
        name=rotation.name,
        key_type=key_pb2.KeyType.Value(f"KEY_TYPE_{rotation.key_type.name}"),
        status=key_pb2.KeyRotationStatus.Value(f"KEY_ROTATION_STATUS_{rotation.status.name}"),
        old_version=rotation.old_version,
        new_version=rotation.new_version,
        planned_count=rotation.records_planned,
        affected_count=rotation.records_affected,
        skipped_count=rotation.records_skipped,
        rolls_back=PATTERN.format(rotation.tenant, undone) if undone else "",
        initiated_by=rotation.initiated_by,
        error=rotation.error,
    )
    shown.create_time.FromDatetime(rotation.created_at)
    for field, moment in (
        (shown.start_time, rotation.started_at),
        (shown.complete_time, rotation.completed_at),
        (shown.rollback_expire_time, rotation.rollback_until),
    ):
        if moment is not None:
            field.FromDatetime(moment)
    return shown
