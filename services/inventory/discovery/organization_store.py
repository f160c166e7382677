"""The SQL of organizations."""

from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.sql.paging import Page
from mesh.sql.store import Store
from secmesh.inventory.v1.organization_pb2 import Organization, OrganizationAccount
from services.inventory.discovery.standing import KNOWN, UNKNOWN, Discovered

ORGANIZATIONS = "organizations"
ACCOUNTS = "organization_accounts"


class OrganizationStore:
    """Keeps organizations as they were last discovered."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def organization(self, name: str) -> Organization:
        """Give an organization; ResourceNotFound."""
        return cast("Organization", await self.store.get(ORGANIZATIONS, name))

    async def accounts(self, name: str, connection: AsyncConnection) -> list[OrganizationAccount]:
        """Give all accounts that were ever discovered in an organization."""
        table = self.store.target(ACCOUNTS).table
        statement = self.store.select(ACCOUNTS, tenant_of(name) or "").where(
            table.c.organization_id == name.rpartition("/")[2]
        )
        found = await self.store.messages(ACCOUNTS, statement, connection=connection)
        return cast("list[OrganizationAccount]", found)

    async def usable(self, tenant: str, connection: AsyncConnection) -> list[OrganizationAccount]:
        """Give the accounts that AWS lets be used, of all organizations of a tenant."""
        target = self.store.target(ACCOUNTS)
        columns = [
            *target.kind.pattern.columns,
            *("cloud_account_id", "account_name", "account", "discover_time"),
        ]
        statement = self.store.select(ACCOUNTS, tenant, columns).where(
            target.table.c.standing.in_((KNOWN, UNKNOWN))
        )
        found = await self.store.messages(ACCOUNTS, statement, connection=connection)
        return cast("list[OrganizationAccount]", found)

    async def delete(self, connection: AsyncConnection, name: str) -> None:
        """Delete an organization and its accounts; ResourceNotFound."""
        await self.store.get(ORGANIZATIONS, name, connection=connection)
        await self.store.delete_under(connection, ACCOUNTS, name)
        table = self.store.target(ORGANIZATIONS).table
        await connection.execute(
            self.store.delete(ORGANIZATIONS, tenant_of(name) or "").where(
                table.c.id == name.rpartition("/")[2]
            )
        )

    async def replace(self, connection: AsyncConnection, discovered: Discovered) -> None:
        """Store an organization as it is now."""
        await self.store.upsert(connection, ORGANIZATIONS, [discovered.organization])
        await self.store.upsert(connection, ACCOUNTS, discovered.accounts)

    async def page(
        self,
        collection: str,
        parent: str,
        *,
        filter: str,  # noqa: A002  # AIP-132's own name
        page_size: int,
        page_token: str,
    ) -> Page:
        """Give a page of organizations, or of the accounts of one, by id."""
        return await self.store.page(
            collection, parent, filter=filter, page_size=page_size, page_token=page_token
        )
