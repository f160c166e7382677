"""ConfigService: what a tenant decides about its persons' data."""

import contextlib
from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.empty_pb2 import Empty

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, MaskInvalid, ResourceNotFound
from mesh.server.call import current_call
from mesh.sql.paging import PageTokens, page_limit
from secmesh.crypto.v1 import config_service_pb2 as pb
from secmesh.crypto.v1.config_service_pb2_grpc import ConfigServiceServicer
from secmesh.options.v1 import field_pb2
from services.crypto.persons.config_store import PurposeRow
from services.crypto.persons.decisions import PURPOSE, USER_FIELD, Decisions
from services.crypto.persons.fields import PersonField, form_number, form_of
from services.crypto.suite.header import Tier

_APP_KEY = "current_app_key_version"
_SETTABLE: Mapping[str, FieldDescriptor] = {
    each.name: each
    for each in pb.Configuration.DESCRIPTOR.fields
    if each.name not in ("name", _APP_KEY)
}
"""Settings that a tenant sets itself."""
_TRUE, _FALSE = "true", "false"


class ConfigServicer(ConfigServiceServicer):
    """Between messages and what a tenant decides."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, decisions: Decisions, tokens: PageTokens) -> None:
        self._decisions = decisions
        self._tokens = tokens

    async def GetConfiguration(
        self, request: pb.GetConfigurationRequest, _context: object
    ) -> pb.Configuration:
        """Give the settings that hold."""
        tenant = _tenant(request.name)
        return _configuration(tenant, await self._decisions.settings(tenant))

    async def UpdateConfiguration(
        self, request: pb.UpdateConfigurationRequest, _context: object
    ) -> pb.Configuration:
        """Give the settings as they are then; MaskInvalid."""
        tenant, wanted = _tenant(request.configuration.name), request.configuration
        changed: dict[str, str | None] = {}
        paths = request.update_mask.paths or [each.name for each, _ in wanted.ListFields()]
        for path in paths:
            if path == "name":
                continue
            if path not in _SETTABLE:
                raise MaskInvalid(path, "update_mask")
            is_set = wanted.HasField(path)  # type: ignore[arg-type]  # a field of the message
            changed[path] = _text(getattr(wanted, path)) if is_set else None
        principal = current_call().caller.subject
        found = await self._decisions.change_settings(tenant, changed, principal)
        return _configuration(tenant, found)

    async def CreatePurpose(self, request: pb.CreatePurposeRequest, _context: object) -> pb.Purpose:
        """Give the purpose; ResourceExists, FieldInvalid."""
        tenant, wanted = _tenant(request.parent), request.purpose
        row = PurposeRow(request.purpose_id, wanted.description, tuple(wanted.fields))
        return _purpose(tenant, await self._decisions.add_purpose(tenant, row))

    async def ListPurposes(
        self, request: pb.ListPurposesRequest, _context: object
    ) -> pb.ListPurposesResponse:
        """Give a page of purposes; PageTokenInvalid."""
        tenant, limit = _tenant(request.parent), page_limit(request.page_size)
        asked = ("purposes", tenant)
        after = self._tokens.read(asked, request.page_token)[0] if request.page_token else None
        rows = await self._decisions.purposes(tenant, after, limit + 1)
        response = pb.ListPurposesResponse(purposes=[_purpose(tenant, row) for row in rows[:limit]])
        if len(rows) > limit:
            response.next_page_token = self._tokens.write(asked, [rows[limit - 1].purpose_id])
        return response

    async def DeletePurpose(self, request: pb.DeletePurposeRequest, _context: object) -> Empty:
        """Take the purpose away; ResourceNotFound."""
        ids = PURPOSE.parse(request.name)
        if ids is None:
            raise ResourceNotFound(request.name)
        missing = (ResourceNotFound,) if request.allow_missing else ()
        with contextlib.suppress(*missing):
            await self._decisions.remove_purpose(*ids)
        return Empty()

    async def ListUserFields(
        self, request: pb.ListUserFieldsRequest, _context: object
    ) -> pb.ListUserFieldsResponse:
        """Give a page of fields, by their names; PageTokenInvalid."""
        tenant, limit = _tenant(request.parent), page_limit(request.page_size)
        asked = ("user_fields", tenant)
        after = self._tokens.read(asked, request.page_token)[0] if request.page_token else ""
        fields = [each for each in await self._decisions.fields(tenant) if each.name > after]
        response = pb.ListUserFieldsResponse(
            user_fields=[_field(tenant, each) for each in fields[:limit]]
        )
        if len(fields) > limit:
            response.next_page_token = self._tokens.write(asked, [fields[limit - 1].name])
        return response

    async def CreateUserField(
        self, request: pb.CreateUserFieldRequest, _context: object
    ) -> pb.UserField:
        """Give the field; ResourceExists, FieldInvalid."""
        tenant, wanted = _tenant(request.parent), request.user_field
        tier = Tier(wanted.tier or field_pb2.TIER_SEALED)
        field = PersonField(
            name=request.user_field_id,
            number=0,
            tier=tier,
            least_tier=tier,
            form=form_of(wanted.form),
            padding=wanted.padding,
            possible_values=wanted.possible_values,
            own=True,
        )
        return _field(tenant, await self._decisions.define(tenant, field))

    async def RaiseTier(self, request: pb.RaiseTierRequest, _context: object) -> pb.UserField:
        """Give the field as it is then; ResourceNotFound, TierLowered."""
        ids = USER_FIELD.parse(request.name)
        if ids is None:
            raise ResourceNotFound(request.name)
        tenant, name = ids
        return _field(tenant, await self._decisions.raise_tier(tenant, name, Tier(request.tier)))


def _tenant(name: str) -> str:
    tenant = tenant_of(name)
    if tenant is None:
        raise FieldInvalid.of("name", "is no name under tenants/{tenant}", "NAME_INVALID")
    return tenant


def _text(value: bool | int) -> str:
    return (_TRUE if value else _FALSE) if isinstance(value, bool) else str(value)


def _configuration(tenant: str, settings: Mapping[str, str]) -> pb.Configuration:
    shown = pb.Configuration(name=f"tenants/{tenant}/configuration")
    for name in (*_SETTABLE, _APP_KEY):
        if (text := settings.get(name)) is not None:
            setattr(shown, name, text == _TRUE if text in (_TRUE, _FALSE) else int(text))
    return shown


def _purpose(tenant: str, row: PurposeRow) -> pb.Purpose:
    shown = pb.Purpose(
        name=PURPOSE.format(tenant, row.purpose_id),
        description=row.description,
        fields=row.fields,
    )
    if row.created_at is not None:
        shown.create_time.FromDatetime(row.created_at)
    return shown


def _field(tenant: str, field: PersonField) -> pb.UserField:
    return pb.UserField(
        name=USER_FIELD.format(tenant, field.name),
        tier=field_pb2.Tier.Name(field.tier),  # type: ignore[arg-type]  # the enum's own numbers
        form=field_pb2.Form.Name(form_number(field.form)),  # type: ignore[arg-type]  # the enum's own numbers
        padding=field.padding,
        possible_values=field.possible_values,
        own=field.own,
        searchable=field.searchable,
    )
