"""How the service reaches its database: tenants kept apart, and those that left refused."""

from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.removed_tenants import RemovedTenants
from mesh.sql.transactions import Transactions
from services.crypto.tables import REMOVED_TENANTS


def open_transactions(application: AsyncEngine, owner: AsyncEngine | None = None) -> Transactions:
    """Give the transactions of engines that the caller disposes of."""
    removed = RemovedTenants(REMOVED_TENANTS)
    return Transactions(application, owner, isolated=True, removed=removed)
