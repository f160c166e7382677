"""An organization of the endpoint, whose managing account the tenancy service knows."""

import secrets
from typing import Any

from secmesh.inventory.v1 import organization_service_pb2 as api
from secmesh.inventory.v1.organization_pb2 import Organization, OrganizationAccount
from secmesh.inventory.v1.organization_service_pb2_grpc import OrganizationServiceStub
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from tests.service.collect_world import client
from tests.service.credential_story import Story
from tests.service.lent_world import LentWorld
from tests.service.tenancy_world import role_account


class Site:
    """An organization that the account of a story manages."""

    def __init__(self, world: LentWorld, story: Story) -> None:
        self.world = world
        self.story = story
        self.cloud: Any = client(world.aws, "organizations", story.account.cloud_account_id)
        self.id = self.cloud.create_organization(FeatureSet="ALL")["Organization"]["Id"]
        self.root = self.cloud.list_roots()["Roots"][0]["Id"]
        self.name = f"tenants/{story.tenant}/organizations/{self.id}"

    def unit(self, name: str, parent: str = "") -> str:
        made = self.cloud.create_organizational_unit(ParentId=parent or self.root, Name=name)
        return str(made["OrganizationalUnit"]["Id"])

    def member(self, name: str = "", unit: str = "") -> str:
        address = f"{secrets.token_hex(6)}@example.com"
        made = self.cloud.create_account(Email=address, AccountName=name or "member")
        account = str(made["CreateAccountStatus"]["AccountId"])
        if unit:
            self.cloud.move_account(
                AccountId=account, SourceParentId=self.root, DestinationParentId=unit
            )
        return account

    async def register(self, cloud_account_id: str) -> str:
        given = role_account(self.story.tenant, int(cloud_account_id))
        request = CreateAccountRequest(parent=f"tenants/{self.story.tenant}", account=given)
        made = await self.world.tenancy.accounts(self.story.tenant).CreateAccount(request)
        return str(made.name)

    async def discover(self) -> Organization:
        return await discovered(self.world, self.story)

    async def accounts(self, condition: str = "") -> dict[str, OrganizationAccount]:
        return await listed(self.world, self.name, condition)


def organizations(world: LentWorld, tenant: str) -> Any:
    return OrganizationServiceStub(world.channel(tenant))


async def discovered(world: LentWorld, story: Story) -> Organization:
    request = api.DiscoverAccountsRequest(
        parent=f"tenants/{story.tenant}", account=story.account.name
    )
    made: Organization = await organizations(world, story.tenant).DiscoverAccounts(request)
    return made


async def listed(
    world: LentWorld, organization: str, condition: str = ""
) -> dict[str, OrganizationAccount]:
    """Give the accounts of an organization by their ids, read in pages of seven."""
    stub = organizations(world, organization.split("/")[1])
    found: dict[str, OrganizationAccount] = {}
    request = api.ListOrganizationAccountsRequest(
        parent=organization, page_size=7, filter=condition
    )
    while True:
        page = await stub.ListOrganizationAccounts(request)
        found.update({each.cloud_account_id: each for each in page.organization_accounts})
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
