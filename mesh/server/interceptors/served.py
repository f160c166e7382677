"""Refuses calls in a tenant that was removed, whatever they are about and whoever calls."""

from typing import Any, Protocol

from mesh.contract.catalogue import Method
from mesh.server.call import Call
from mesh.server.interceptors.chain import Context, Proceed, RequestInterceptor


class ServedTenants(Protocol):
    """Knows which tenants were removed."""

    async def require_served(self, tenant: str) -> None:
        """Refuse a tenant that was removed: TenantInactive."""


class Served(RequestInterceptor):
    """Asks for the tenant of a request, else for the caller's; streams too, when they begin.

    Each transaction asks again: what goes on for long ends there.
    """

    of_streams = True

    def __init__(self, tenants: ServedTenants | None) -> None:
        self._tenants = tenants

    def concerns(self, method: Method | None) -> bool:
        return self._tenants is not None and method is not None and not method.of_removed_tenants

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        if self._tenants is not None and (tenant := call.tenant or call.caller.tenant):
            await self._tenants.require_served(tenant)
        return await proceed(call, request, context)
