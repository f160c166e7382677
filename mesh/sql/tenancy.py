"""For which tenant a transaction works, where the database itself keeps tenants apart.

The tenant is that of the request: the names in it were held against the caller's tenant
before. Work outside of calls states its tenant. Nobody's transaction sees nothing.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from mesh.contract.names import tenant_of
from mesh.server.call import find_current_call
from mesh.sql.settings import ACTING_FOR

__all__ = ["ACTING_FOR", "acting_for", "concerns_removed", "of_removed_tenants", "tenant_in_charge"]

_TENANT: ContextVar[str | None] = ContextVar("tenant", default=None)
_REMOVED: ContextVar[bool] = ContextVar("removed", default=False)


@contextlib.contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Work for a tenant, where no request says which: timers, and tasks that outlive calls.

    Raises ValueError for what is no tenant, and RuntimeError within a call about another.
    """
    if tenant_of(f"tenants/{tenant}") != tenant:
        raise ValueError("this is the name of no tenant")
    call = find_current_call()
    if call is not None and call.tenant not in ("", tenant):
        raise RuntimeError("the call is about another tenant")
    token = _TENANT.set(tenant)
    try:
        yield
    finally:
        _TENANT.reset(token)


def tenant_in_charge(stated: str | None = None) -> str | None:
    """Give the tenant that a transaction works for, None for nobody.

    Within a call it is the call's, whatever a statement says; ``stated`` counts outside.
    """
    if (chosen := _TENANT.get()) is not None:
        return chosen
    call = find_current_call()
    if call is not None:
        return call.tenant or call.caller.tenant or None
    return stated


@contextlib.contextmanager
def of_removed_tenants() -> Iterator[None]:
    """Work for tenants that were removed as well: what ends with them, and the proofs of it."""
    token = _REMOVED.set(True)
    try:
        yield
    finally:
        _REMOVED.reset(token)


def concerns_removed() -> bool:
    """Tell whether what is done now may be about a tenant that was removed."""
    if _REMOVED.get():
        return True
    call = find_current_call()
    return call is not None and call.method is not None and call.method.of_removed_tenants
