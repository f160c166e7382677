"""Services that call each other by tokens of the mesh's own issuer, of each tenant its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from pydantic import ValidationError

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from mesh.server.program import CommandFailed
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding
from secmesh.tenancy.v1 import token_service_pb2 as pb
from secmesh.tenancy.v1.service_credential_pb2 import ServiceCredential as Credential
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2 import CreateTenantRequest
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client import CallRefused, ServiceCredential, ServiceTokens, connect
from services.inventory.__main__ import build_server
from services.inventory.settings import InventorySettings
from services.tenancy.assembly import open_others
from tests.derived import tables_of
from tests.inventory_store import inventory_store
from tests.service.collect_world import client
from tests.service.lent_world import LentWorld, inventory_beside, serving_tenancy
from tests.service.tenancy_world import OPERATOR, World, own_issuer, settings_of, tenancy_world
from tests.service.test_tenant_swap import INVENTORY, plant_inventory_messages

BUCKETS = "s3_buckets"


async def platform_credential(
    world: World, permissions: Sequence[str]
) -> pb.IssuedServiceCredential:
    """Make a service credential of the platform that may act for all tenants."""
    # Others judge tokens by the real time.
    world.clock.moment = time.time_ns() // 1000
    named = Tenant(tenant_name="The platform")
    await world.platform().CreateTenant(CreateTenantRequest(tenant=named, tenant_id=OPERATOR))
    stub = TokenServiceStub(world.channel(OPERATOR, roles=["admin", "platform"]))
    request = pb.CreateServiceCredentialRequest(
        parent=f"tenants/{OPERATOR}",
        service_credential=Credential(permissions=permissions, tenants=["*"]),
        service_credential_id="service",
    )
    issued: pb.IssuedServiceCredential = await stub.CreateServiceCredential(request)
    return issued


def shown(folder: Path, issued: pb.IssuedServiceCredential) -> dict[str, Any]:
    """Give the settings of who shows a credential."""
    secret = folder / "client_secret"
    secret.write_text(issued.client_secret)
    return {"client_id": issued.service_credential.client_id, "client_secret_file": secret}


async def test_threads_share_tokens_and_each_tenant_has_its_own(tmp_path: Path) -> None:
    async with tenancy_world(tmp_path / "keys") as world:
        issued = await platform_credential(world, ["inventory.syncs.*"])
        with connect(world.address) as channel:
            named = ServiceCredential(issued.service_credential.client_id, issued.client_secret)
            tokens = ServiceTokens(channel, named)

            def of(tenant: str) -> str:
                with tokens.acting_for(tenant):
                    return tokens()

            with ThreadPoolExecutor(8) as pool:
                loop = asyncio.get_running_loop()
                asked = ["acme", "beta", ""] * 8
                given = await asyncio.gather(*(loop.run_in_executor(pool, of, t) for t in asked))
        found = dict(zip(asked, given, strict=True))
        assert len(set(given)) == 3
        for tenant, token in found.items():
            claims = jwt.decode(token, options={"verify_signature": False})
            assert claims.get("tenants", []) == ([tenant] if tenant else [])


@pytest.fixture
async def lending(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[LentWorld]:
    """Two services, of which inventory shows the other a credential of its own."""
    async with serving_tenancy(aws, tmp_path, **own_issuer()) as tenancy:
        issued = await platform_credential(tenancy, ["tenancy.credentials.vend"])
        named = {f"tenancy_{name}": value for name, value in shown(tmp_path, issued).items()}
        async with inventory_beside(
            tenancy, aws, tmp_path, tenancy_token_file=None, **named
        ) as made:
            yield made
            faults.clear()


async def test_sessions_are_lent_to_a_service_credential(lending: LentWorld) -> None:
    stories = [await lending.role_account() for _ in range(2)]
    lending.token_file.unlink()
    for story in stories:
        cloud = story.account.cloud_account_id
        client(lending.aws, "s3", cloud).create_bucket(Bucket=f"of-{cloud}")
        sync = await lending.ended(await lending.start(story, BUCKETS))
        assert sync.state == Sync.STATE_SUCCEEDED
        (record,) = await lending.records(story.tenant, BUCKETS)
        assert record.s3_bucket.bucket_name == f"of-{cloud}"
        lender = {each.subject for each in await story.accesses() if each.purpose == sync.name}
        assert lender == {"service:platform.service"}
    stub = TokenServiceStub(lending.tenancy.channel(OPERATOR))
    name = f"tenants/{OPERATOR}/serviceCredentials/service"
    await stub.RevokeServiceCredential(pb.RevokeServiceCredentialRequest(name=name))
    late = await lending.role_account()
    with pytest.raises(CallRefused) as refused:
        await lending.start(late, BUCKETS)
    # That its own credential is refused is nothing to callers.
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert "client" not in refused.value.message


async def test_a_tenant_leaves_elsewhere_by_a_service_credential(tmp_path: Path) -> None:
    keys, url = tmp_path / "keys", inventory_store(tmp_path)
    create_signing_key(keys)
    async with tenancy_world(keys) as world:
        issued = await platform_credential(world, ["platform.tenants.remove"])
        mesh = f"secmesh-tenancy=grpc://{world.address}"
        given: dict[str, Any] = {"home": tmp_path, "database_url": url, "issuers": mesh}
        server = await build_server(InventorySettings(**given))
        await server.start()
        engine = open_engine(url)
        try:
            store = Store(engine, tables_of(INVENTORY), page_key=b"k" * 32)
            async with store.transaction() as connection:
                for collection, message in plant_inventory_messages("acme", INVENTORY):
                    await store.insert(connection, collection, [message])
            asked = {"inventory_address": server.address, "tokens_address": world.address}
            credential = shown(tmp_path, issued)
            other, *_ = open_others(settings_of(**asked, **credential))
            told = await other.leave("acme")
            assert (told.state, told.remaining) == (offboarding.OFFBOARDED_STATE_KEPT, 0)
            assert told.removed > 10
            await other.close()
            (tmp_path / "client_secret").unlink()
            other, *_ = open_others(settings_of(**asked, **credential))
            told = await other.leave("acme")
            assert told.state == offboarding.OFFBOARDED_STATE_UNKNOWN
            assert told.note == "no token: the secret of the service credential cannot be read"
            await other.close()
            (tmp_path / "client_secret").write_text(f"sms_{'0' * 48}")
            other, *_ = open_others(settings_of(**asked, **credential))
            told = await other.leave("acme")
            assert told.note == "no token: CLIENT_CREDENTIALS_INVALID"
            await other.close()
        finally:
            await engine.dispose()
            await server.stop()


async def test_half_of_a_credential_and_two_ways_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "client_secret"
    secret.write_text("sms_x")
    with pytest.raises(CommandFailed, match="together"):
        open_others(settings_of(client_id="platform.service"))
    whole = {"tokens_address": "127.0.0.1:9", "client_id": "a.b", "client_secret_file": secret}
    with pytest.raises(CommandFailed, match="in place"):
        open_others(settings_of(**whole, removal_token_file=secret))
    asked: dict[str, Any] = {"home": tmp_path, "tenancy_address": "127.0.0.1:9"}
    wrong: list[dict[str, Any]] = [
        {},
        {"tenancy_client_id": "a.b"},
        {"tenancy_client_secret_file": secret},
        {
            "tenancy_client_id": "a.b",
            "tenancy_client_secret_file": secret,
            "tenancy_token_file": secret,
        },
    ]
    for given in wrong:
        with pytest.raises(ValidationError):
            InventorySettings(**asked, **given)
    InventorySettings(**asked, tenancy_client_id="a.b", tenancy_client_secret_file=secret)
