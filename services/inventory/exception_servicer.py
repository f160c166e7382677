"""ExceptionService: accepted failures over gRPC."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from mesh.contract.names import tenant_of
from mesh.server.call import current_call
from secmesh.inventory.v1 import exception_service_pb2 as api
from secmesh.inventory.v1 import exception_service_pb2_grpc
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from services.inventory.controls.tenant_checks import TenantChecks
from services.inventory.exceptions.exception_rules import approved, proposed, revoked, shown
from services.inventory.exceptions.exception_store import PATH, ExceptionStore


def _now() -> datetime:
    return datetime.now(UTC)


class ExceptionServicer(exception_service_pb2_grpc.ExceptionServiceServicer):
    """Keeps exceptions; the people in them are the callers."""

    def __init__(
        self,
        exceptions: ExceptionStore,
        checks: TenantChecks,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._exceptions = exceptions
        self._checks = checks
        self._clock = clock

    async def CreateCheckException(  # noqa: N802  # the contract's name
        self, request: api.CreateCheckExceptionRequest, _context: object
    ) -> CheckException:
        name = f"{request.parent}/{PATH}/{request.check_exception_id}"
        requester = current_call().caller.subject
        async with self._exceptions.store.transaction() as connection:
            checks = await self._checks.of(tenant_of(name) or "", connection)
            made = proposed(request.check_exception, name, requester, checks, self._clock())
            await self._exceptions.create(connection, made)
        return made

    async def GetCheckException(  # noqa: N802  # the contract's name
        self, request: api.GetCheckExceptionRequest, _context: object
    ) -> CheckException:
        return shown(await self._exceptions.exception(request.name), self._clock())

    async def ListCheckExceptions(  # noqa: N802  # the contract's name
        self, request: api.ListCheckExceptionsRequest, _context: object
    ) -> api.ListCheckExceptionsResponse:
        page = await self._exceptions.page(
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        now = self._clock()
        found = [shown(each, now) for each in cast("list[CheckException]", page.items)]
        return api.ListCheckExceptionsResponse(
            check_exceptions=found, next_page_token=page.next_page_token
        )

    async def ApproveCheckException(  # noqa: N802  # the contract's name
        self, request: api.ApproveCheckExceptionRequest, _context: object
    ) -> CheckException:
        approver, now = current_call().caller.subject, self._clock()
        async with self._exceptions.store.transaction() as connection:
            known = await self._exceptions.exception(request.name, connection)
            made = approved(known, approver, request.etag, now)
            if made is not None:
                await self._exceptions.replace(connection, made)
        return made or known

    async def RevokeCheckException(  # noqa: N802  # the contract's name
        self, request: api.RevokeCheckExceptionRequest, _context: object
    ) -> CheckException:
        revoker, now = current_call().caller.subject, self._clock()
        async with self._exceptions.store.transaction() as connection:
            known = await self._exceptions.exception(request.name, connection)
            made = revoked(known, revoker, request.etag, now)
            if made is not None:
                await self._exceptions.replace(connection, made)
        return made or known
