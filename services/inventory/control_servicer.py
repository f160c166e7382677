"""ControlService: a tenant's own controls over gRPC."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from google.api import httpbody_pb2
from google.protobuf import empty_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid
from mesh.records.moments import past_moment
from mesh.server.interceptors.validation import violations_of
from secmesh.inventory.v1 import control_pb2, control_service_pb2_grpc
from secmesh.inventory.v1 import control_service_pb2 as api
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.controls.component_definition import component_definition
from services.inventory.controls.component_import import DOCUMENT, read_controls
from services.inventory.controls.control_rules import bound_of, edited, require_fit, settled
from services.inventory.controls.control_store import ControlStore, held, same
from services.inventory.controls.fixtures import fixture_outcome
from services.inventory.controls.tenant_checks import CONTROLS, TenantChecks
from services.inventory.controls.trial import tried

JSON = "application/json"


def _now() -> datetime:
    return datetime.now(UTC)


class ControlServicer(control_service_pb2_grpc.ControlServiceServicer):
    """Keeps controls, tries them, and takes them along as documents."""

    def __init__(
        self, controls: ControlStore, checks: TenantChecks, clock: Callable[[], datetime] = _now
    ) -> None:
        self._controls = controls
        self._checks = checks
        self._clock = clock

    async def CreateControl(  # noqa: N802  # the contract's name
        self, request: api.CreateControlRequest, _context: object
    ) -> control_pb2.Control:
        name = f"{request.parent}/{CONTROLS}/{request.control_id}"
        control = settled(request.control, name)
        require_fit(self._checks, control, self._clock())
        async with self._controls.store.transaction() as connection:
            return await self._controls.create(connection, control, self._stamp())

    async def GetControl(  # noqa: N802  # the contract's name
        self, request: api.GetControlRequest, _context: object
    ) -> control_pb2.Control:
        return await self._controls.control(request.name)

    async def ListControls(  # noqa: N802  # the contract's name
        self, request: api.ListControlsRequest, _context: object
    ) -> api.ListControlsResponse:
        page = await self._controls.page(
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[control_pb2.Control]", page.items)
        return api.ListControlsResponse(controls=found, next_page_token=page.next_page_token)

    async def UpdateControl(  # noqa: N802  # the contract's name
        self, request: api.UpdateControlRequest, _context: object
    ) -> control_pb2.Control:
        async with self._controls.store.transaction() as connection:
            old = await self._controls.control(request.control.name, connection)
            held(old, request.control.etag)
            new = settled(edited(old, request.control, request.update_mask.paths), old.name)
            require_fit(self._checks, new, self._clock())
            return await self._controls.update(connection, old, new, self._stamp())

    async def DeleteControl(  # noqa: N802  # the contract's name
        self, request: api.DeleteControlRequest, _context: object
    ) -> empty_pb2.Empty:
        async with self._controls.store.transaction() as connection:
            await self._controls.delete(connection, request.name, request.etag)
        return empty_pb2.Empty()

    async def GetControlVersion(  # noqa: N802  # the contract's name
        self, request: api.GetControlVersionRequest, _context: object
    ) -> control_pb2.ControlVersion:
        return await self._controls.version(request.name)

    async def ListControlVersions(  # noqa: N802  # the contract's name
        self, request: api.ListControlVersionsRequest, _context: object
    ) -> api.ListControlVersionsResponse:
        page = await self._controls.versions(
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[control_pb2.ControlVersion]", page.items)
        return api.ListControlVersionsResponse(
            control_versions=found, next_page_token=page.next_page_token
        )

    async def TestControl(  # noqa: N802  # the contract's name
        self, request: api.TestControlRequest, _context: object
    ) -> api.TestControlResponse:
        moment = None
        if request.HasField("read_time"):
            moment = past_moment(request.read_time, "read_time")
        control = await self._subject(request)
        check = bound_of(self._checks, control)
        answer = api.TestControlResponse(fixtures=self._fixtures(check, control))
        tenant = tenant_of(request.parent) or ""
        accounts = sorted(request.cloud_account_ids)
        result = await tried(self._controls.store, tenant, check, accounts, moment)
        if result is not None:
            answer.result.CopyFrom(result)
        return answer

    async def ExportControls(  # noqa: N802  # the contract's name
        self, request: api.ExportControlsRequest, _context: object
    ) -> httpbody_pb2.HttpBody:
        tenant = tenant_of(request.parent) or ""
        found = await self._controls.all(tenant)
        if not found:
            # OSCAL admits no empty list of components, and a document of nothing says nothing.
            raise FieldInvalid.of("parent", "has no controls", "NOTHING_TO_EXPORT")
        data = await asyncio.to_thread(component_definition, tenant, found)
        return httpbody_pb2.HttpBody(content_type=JSON, data=data)

    async def ImportControls(  # noqa: N802  # the contract's name
        self, request: api.ImportControlsRequest, _context: object
    ) -> api.ImportControlsResponse:
        found = await asyncio.to_thread(read_controls, request.document)
        wanted = [
            self._imported(request.parent, control_id, pointer, control)
            for control_id, (pointer, control) in found.controls.items()
        ]
        answer = api.ImportControlsResponse(issues=found.issues)
        async with self._controls.store.transaction() as connection:
            known = await self._controls.existing(connection, [each.name for each in wanted])
            for control in wanted:
                old = known.get(control.name)
                if old is not None and same(old, control):
                    answer.unchanged.append(control.name)
                    continue
                (answer.created if old is None else answer.updated).append(control.name)
                if request.validate_only:
                    continue
                if old is None:
                    await self._controls.create(connection, control, self._stamp())
                else:
                    await self._controls.update(connection, old, control, self._stamp())
        return answer

    def _imported(
        self, parent: str, control_id: str, pointer: str, control: control_pb2.Control
    ) -> control_pb2.Control:
        """Give a control of a document as it may be stored; FieldInvalid with its place."""
        try:
            _require_valid(
                api.CreateControlRequest(parent=parent, control_id=control_id, control=control)
            )
            made = settled(control, f"{parent}/{CONTROLS}/{control_id}")
            require_fit(self._checks, made, self._clock())
        except FieldInvalid as refused:
            raise FieldInvalid.of(DOCUMENT, f"{pointer}: {refused}") from None
        return made

    async def _subject(self, request: api.TestControlRequest) -> control_pb2.Control:
        if request.HasField("control"):
            pattern = self._controls.store.target(CONTROLS).kind.pattern
            named = pattern.parse(request.control.name)
            control_id = named[1] if named else "on-trial"
            return settled(request.control, f"{request.parent}/{CONTROLS}/{control_id}")
        name = f"{request.parent}/{CONTROLS}/{request.control_id}"
        if "/versions/" in request.control_id:
            return (await self._controls.version(name)).control
        return await self._controls.control(name)

    def _fixtures(self, check: BoundCheck, control: control_pb2.Control) -> list[api.FixtureResult]:
        now = self._clock()
        return [
            api.FixtureResult(
                title=each.title,
                wanted=each.outcome,
                outcome=fixture_outcome(check, each, now, f"control.fixtures[{number}]"),
            )
            for number, each in enumerate(control.fixtures)
        ]

    def _stamp(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromDatetime(self._clock())
        return stamp


def _require_valid(request: api.CreateControlRequest) -> None:
    if broken := violations_of(request):
        raise FieldInvalid(*broken)
