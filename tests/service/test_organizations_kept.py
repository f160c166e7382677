"""Organizations as the store keeps them, on SQLite and PostgreSQL, and in assessments."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.sql.answers import Answers
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as compliance_api
from secmesh.inventory.v1 import (
    compliance_service_pb2_grpc,
    organization_service_pb2_grpc,
)
from secmesh.inventory.v1 import organization_service_pb2 as api
from secmesh.inventory.v1.organization_pb2 import Organization, OrganizationAccount
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.compliance_servicer import ComplianceServicer
from services.inventory.discovery.discovery import Discovery
from services.inventory.discovery.listing import Listing, Place
from services.inventory.discovery.organization_store import OrganizationStore
from services.inventory.discovery.standing import Discoverer, compared
from services.inventory.organization_servicer import OrganizationServicer
from tests.service.compliance_world import (
    ACCOUNT,
    CATALOGUE,
    NOW,
    SSP,
    TENANT,
    World,
    document,
    new_world,
    requirement,
    tenant_checks,
)
from tests.service.server_fixtures import PACKAGE, running

NAME = f"{TENANT}/organizations/o-one"
SHOP, LEDGER, CLOSED = "222222222222", "333333333333", "444444444444"
REGISTERED = {ACCOUNT: f"{TENANT}/accounts/main", LEDGER: f"{TENANT}/accounts/ledger"}


@dataclass
class Site:
    """Organizations and compliance over one store."""

    world: World
    organizations: "organization_service_pb2_grpc.OrganizationServiceAsyncStub"
    compliance: "compliance_service_pb2_grpc.ComplianceServiceAsyncStub"

    async def discovered(
        self, *accounts: str, organization: str = "o-one", after: timedelta = timedelta(0)
    ) -> Organization:
        """Store what a discovery finds that is told of these accounts."""
        listing = Listing(
            organization,
            ACCOUNT,
            {
                each: {
                    "Id": each,
                    "Name": f"account {each[:2]}",
                    "State": "CLOSED" if each == CLOSED else "ACTIVE",
                }
                for each in accounts
            },
            {SHOP: Place("ou-1", ("Workloads", "Production"))},
            units=2,
            gaps=(),
        )
        kept = OrganizationStore(self.world.store)
        by = Discoverer(TENANT, REGISTERED[ACCOUNT], ACCOUNT, NOW + after)
        async with self.world.store.transaction() as connection:
            before = await kept.accounts(f"{TENANT}/organizations/{organization}", connection)
            found = compared(listing, REGISTERED, before, by)
            await kept.replace(connection, found)
        return found.organization

    async def listed(self, condition: str = "", name: str = NAME) -> dict[str, OrganizationAccount]:
        request = api.ListOrganizationAccountsRequest(parent=name, page_size=2, filter=condition)
        found: dict[str, OrganizationAccount] = {}
        while True:
            page = await self.organizations.ListOrganizationAccounts(request)
            found |= {each.cloud_account_id: each for each in page.organization_accounts}
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def evaluate(self, *accounts: str) -> pb.Assessment:
        request = compliance_api.EvaluateRequest(ssp=SSP, cloud_account_ids=accounts)
        events = [each async for each in self.compliance.Evaluate(request)]
        (made,) = [each.assessment for each in events if each.HasField("assessment")]
        asked = compliance_api.GetAssessmentRequest(name=made.name)
        assert await self.compliance.GetAssessment(asked) == made
        return made


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(new_world(tmp_path, database))
        kept = OrganizationStore(world.store)

        def register(server: grpc.aio.Server) -> None:
            organization_service_pb2_grpc.add_OrganizationServiceServicer_to_server(
                OrganizationServicer(Mock(Discovery), kept), server
            )
            compliance = ComplianceServicer(world.store, tenant_checks(world.store), lambda: NOW)
            compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server(compliance, server)

        answers = Answers(world.store)
        serving = running(tmp_path, catalogue=CATALOGUE, register=register, answers=answers)
        server = await stack.enter_async_context(serving)
        channel = await stack.enter_async_context(
            open_channel(server.address, package=PACKAGE, token=server.token())
        )
        yield Site(
            world,
            organization_service_pb2_grpc.OrganizationServiceStub(channel),
            compliance_service_pb2_grpc.ComplianceServiceStub(channel),
        )


async def test_what_was_found_is_kept_paged_and_filtered(site: Site) -> None:
    made = await site.discovered(ACCOUNT, SHOP, LEDGER, CLOSED)
    assert (made.accounts, made.known_accounts, made.unknown_accounts) == (4, 2, 1)
    assert await site.organizations.GetOrganization(api.GetOrganizationRequest(name=NAME)) == made
    found = await site.listed()
    assert list(found) == sorted((ACCOUNT, SHOP, LEDGER, CLOSED))
    assert list(found[SHOP].path) == ["Workloads", "Production"]
    unknown = await site.listed("standing == STANDING_UNKNOWN && path.exists(p, p == 'Workloads')")
    assert list(unknown) == [SHOP]

    again = await site.discovered(ACCOUNT, SHOP, after=timedelta(hours=1))
    assert (again.accounts, again.gone_accounts) == (2, 2)
    gone = await site.listed("standing == STANDING_GONE")
    assert list(gone) == [LEDGER, CLOSED]
    later = await site.listed()
    assert later[SHOP].first_discover_time == found[SHOP].discover_time
    assert later[LEDGER].discover_time == found[LEDGER].discover_time


async def test_an_organization_is_forgotten_with_its_accounts_alone(site: Site) -> None:
    await site.discovered(ACCOUNT, SHOP)
    other = await site.discovered(LEDGER, organization="o-other")
    request = api.DeleteOrganizationRequest(name=NAME, request_id=str(uuid4()))
    await site.organizations.DeleteOrganization(request)
    # Sent again it is answered alike; asked anew there is none.
    await site.organizations.DeleteOrganization(request)
    calls: list[Any] = [
        site.organizations.DeleteOrganization(api.DeleteOrganizationRequest(name=NAME)),
        site.organizations.GetOrganization(api.GetOrganizationRequest(name=NAME)),
        site.listed(),
    ]
    for call in calls:
        with pytest.raises(CallRefused) as refused:
            await call
        assert refused.value.reason == "RESOURCE_NOT_FOUND"
    page = await site.organizations.ListOrganizations(api.ListOrganizationsRequest(parent=TENANT))
    assert list(page.organizations) == [other]
    assert list(await site.listed(name=other.name)) == [LEDGER]

    found = await site.discovered(ACCOUNT, after=timedelta(days=1))
    assert found.gone_accounts == 0, "what was forgotten is not gone"
    assert list(await site.listed()) == [ACCOUNT]


async def test_an_assessment_of_all_accounts_tells_which_it_did_not_cover(site: Site) -> None:
    await site.world.sync(["s3_buckets"])
    await site.world.add("s3_buckets", S3Bucket(encryption="AES256", bucket_name="b"))
    await site.world.plan(document(requirement("sc-28.1")))
    silent = await site.evaluate()
    assert (silent.uncovered_account_count, silent.organization_account_count) == (0, 0)

    await site.discovered(ACCOUNT, SHOP, LEDGER, CLOSED)
    await site.discovered("555555555555", organization="o-other")
    made = await site.evaluate()
    assert (made.uncovered_account_count, made.organization_account_count) == (3, 4)
    told = {each.cloud_account_id: each for each in made.uncovered_accounts}
    assert list(told) == [SHOP, LEDGER, "555555555555"]
    assert (told[SHOP].organization, told[SHOP].account) == (NAME, "")
    assert (told[LEDGER].account, told[LEDGER].account_name) == (REGISTERED[LEDGER], "account 33")
    page = await site.compliance.ListAssessments(
        compliance_api.ListAssessmentsRequest(parent=TENANT, filter="uncovered_account_count > 0")
    )
    assert list(page.assessments) == [made]

    named = await site.evaluate(ACCOUNT)
    assert (named.uncovered_account_count, named.organization_account_count) == (0, 0)
    await site.world.sync(["s3_buckets"], account=LEDGER)
    assert (await site.evaluate()).uncovered_account_count == 2
    await site.organizations.DeleteOrganization(api.DeleteOrganizationRequest(name=NAME))
    assert (await site.evaluate()).uncovered_account_count == 1
