"""OrganizationService: organizations and their accounts over gRPC."""

from typing import cast

from google.protobuf import empty_pb2

from secmesh.inventory.v1 import organization_service_pb2 as api
from secmesh.inventory.v1 import organization_service_pb2_grpc
from secmesh.inventory.v1.organization_pb2 import Organization, OrganizationAccount
from services.inventory.discovery.discovery import Discovery
from services.inventory.discovery.organization_store import (
    ACCOUNTS,
    ORGANIZATIONS,
    OrganizationStore,
)


class OrganizationServicer(organization_service_pb2_grpc.OrganizationServiceServicer):
    """Discovers organizations and shows what was found."""

    def __init__(self, discovery: Discovery, organizations: OrganizationStore) -> None:
        self._discovery = discovery
        self._organizations = organizations

    async def DiscoverAccounts(  # noqa: N802  # the contract's name
        self, request: api.DiscoverAccountsRequest, _context: object
    ) -> Organization:
        return await self._discovery.discover(request.parent, request.account)

    async def GetOrganization(  # noqa: N802  # the contract's name
        self, request: api.GetOrganizationRequest, _context: object
    ) -> Organization:
        return await self._organizations.organization(request.name)

    async def DeleteOrganization(  # noqa: N802  # the contract's name
        self, request: api.DeleteOrganizationRequest, _context: object
    ) -> empty_pb2.Empty:
        async with self._organizations.store.transaction() as connection:
            await self._organizations.delete(connection, request.name)
        return empty_pb2.Empty()

    async def ListOrganizations(  # noqa: N802  # the contract's name
        self, request: api.ListOrganizationsRequest, _context: object
    ) -> api.ListOrganizationsResponse:
        page = await self._organizations.page(
            ORGANIZATIONS,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return api.ListOrganizationsResponse(
            organizations=cast("list[Organization]", page.items),
            next_page_token=page.next_page_token,
        )

    async def ListOrganizationAccounts(  # noqa: N802  # the contract's name
        self, request: api.ListOrganizationAccountsRequest, _context: object
    ) -> api.ListOrganizationAccountsResponse:
        await self._organizations.organization(request.parent)
        page = await self._organizations.page(
            ACCOUNTS,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return api.ListOrganizationAccountsResponse(
            organization_accounts=cast("list[OrganizationAccount]", page.items),
            next_page_token=page.next_page_token,
        )
