"""What every service has in common that removes tenants."""

from collections.abc import Mapping

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, TenantRemainder, TenantRows

REMOVAL_SECONDS = 30.0
"""Longest work of one call, as the contracts say; the rest is for the next."""


def confirmed_tenant(request: RemoveTenantRequest) -> str:
    """Give the tenant of a request; FieldInvalid if it is to be removed and not named twice."""
    tenant = tenant_of(request.name) or ""
    if not request.validate_only and request.confirm_tenant_id != tenant:
        raise FieldInvalid.of("confirm_tenant_id", "is not the tenant's id", "UNCONFIRMED")
    return tenant


def tenant_rows(rows: Mapping[str, int]) -> list[TenantRows]:
    """Write numbers of rows by collection, in the order of their names."""
    return [TenantRows(collection=name, rows=rows[name]) for name in sorted(rows)]


def closed_tenant() -> TenantRemainder:
    """Tell that the tenant's id is kept, which refuses every call in it."""
    note = "its id and the time, which keep it from coming back; they stay for good"
    return TenantRemainder(place="removed_tenants", number=1, note=note)
