"""What ``serve`` does by itself, as a process of its own: nobody calls, and it is done."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import tenant_removal_service_pb2_grpc as inventory
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.account_pb2 import CREDENTIAL_TYPE_AWS_ACCESS_KEY, Account
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey
from secmesh.tenancy.v1.credential_service_pb2_grpc import CredentialServiceStub
from secmesh.tenancy.v1.onboarding_service_pb2 import VerifyAccountRequest
from secmesh.tenancy.v1.onboarding_service_pb2_grpc import OnboardingServiceStub
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh.tenancy.v1.provider_service_pb2_grpc import ProviderServiceStub
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_OFFBOARDED, Tenant
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from secmesh_client import connect
from services.tenancy.clock import SystemClock
from services.tenancy.credentials.credential_store import CredentialStore
from services.tenancy.retention import timestamp
from services.tenancy.store.tables import Table
from tests.service.tenancy_stores import REGION, embedded_store, made_tables

PATIENCE = 120
"""Seconds that a busy machine may take."""
OWN_TOKEN = "token-of-the-service-itself"
USER = "scanner"


class Inventory(inventory.TenantRemovalServiceServicer):
    """Another service, which does not answer until it is let."""

    def __init__(self) -> None:
        self.answers = False
        self.hangs = False
        self.asked = 0
        self.tokens: set[str] = set()

    def RemoveTenant(  # noqa: N802 - the contract's name
        self, _request: RemoveTenantRequest, context: grpc.ServicerContext
    ) -> RemoveTenantResponse:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.tokens.add(metadata["authorization"].partition(" ")[2])
        self.asked += 1
        while self.hangs and context.is_active():
            time.sleep(0.1)
        if not self.answers:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return RemoveTenantResponse(done=True)


@dataclass
class Site:
    """Tables, another service, and how the processes are set up."""

    environment: dict[str, str]
    names: dict[Table, str]
    endpoint: str
    inventory: Inventory

    def token(self, tenant: str, *roles: str, **more: Any) -> str:
        keys = Path(self.environment["SECMESH_HOME"]) / "keys"
        return sign_token(keys, subject="ann", tenant=tenant, roles=roles, **more)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "services.tenancy", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def site(aws: AwsEndpoint, tmp_path: Path) -> Iterator[Site]:
    create_signing_key(tmp_path / "keys")
    names, other = made_tables(aws.url), Inventory()
    (tmp_path / "token").write_text(OWN_TOKEN)
    server = grpc.server(ThreadPoolExecutor(2))
    inventory.add_TenantRemovalServiceServicer_to_server(other, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    environment = {
        **os.environ,
        **{table.variable: name for table, name in names.items()},
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_REGION": REGION,
        "SECMESH_HOME": str(tmp_path),
        "SECMESH_TENANCY_PAGE_KEY": "k" * 32,
        "SECMESH_TENANCY_ADMIN": "",
        "SECMESH_TENANCY_INVENTORY_ADDRESS": f"127.0.0.1:{port}",
        "SECMESH_TENANCY_REMOVAL_TOKEN_FILE": str(tmp_path / "token"),
        "SECMESH_TENANCY_UPKEEP_REVERIFY_SECONDS": "24",
        "SECMESH_TENANCY_UPKEEP_ROTATE_SECONDS": "1",
        "SECMESH_TENANCY_UPKEEP_OFFBOARD_SECONDS": "1",
    }
    yield Site(environment, names, aws.url, other)
    server.stop(None)


@contextmanager
def served(site: Site, **settings: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.tenancy", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=site.environment | settings,
        )
        assert process.stdout is not None
        word, _, rest = process.stdout.readline().partition(" ")
        try:
            log.seek(0)
            assert word == "LISTENING", log.read()
            yield json.loads(rest)["address"], process
        finally:
            process.kill()
            process.communicate()
            log.seek(0)
            assert OWN_TOKEN not in log.read()


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


def new_tenant(address: str, site: Site) -> str:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    given = Tenant(tenant_name=tenant)
    with connect(address, token=site.token("platform", "platform")) as channel:
        TenantServiceStub(channel).CreateTenant(
            tenants.CreateTenantRequest(tenant=given, tenant_id=tenant)
        )
    return tenant


def begin_and_leave(address: str, site: Site, tenant: str) -> None:
    """Off-board a tenant whom another service does not let go yet."""
    token = site.token("platform", "platform", "admin", tenants=[tenant])
    name = f"tenants/{tenant}"
    with connect(address, token=token) as channel:
        stub = TenantServiceStub(channel)
        stub.DeleteTenant(tenants.DeleteTenantRequest(name=name))
        told = stub.OffboardTenant(
            offboarding.OffboardTenantRequest(name=name, confirm_tenant_id=tenant, shred=True)
        )
    assert not told.HasField("complete_time")


def has_left(address: str, site: Site, tenant: str) -> bool:
    token = site.token("platform", "platform", "admin", tenants=[tenant])
    with connect(address, token=token) as channel:
        found = TenantServiceStub(channel).GetTenant(
            tenants.GetTenantRequest(name=f"tenants/{tenant}")
        )
    return found.status == TENANT_STATUS_OFFBOARDED


def test_an_off_boarding_that_was_begun_and_left_comes_to_its_end(site: Site) -> None:
    with served(site, SECMESH_TENANCY_UPKEEP="false") as (address, _):
        tenant = new_tenant(address, site)
        begin_and_leave(address, site, tenant)
    site.inventory.answers = True
    asked_by = set(site.inventory.tokens)
    with served(site) as (address, _):
        wait_for(lambda: has_left(address, site, tenant))
    # By itself it asks as it did for the caller: by its own token.
    assert site.inventory.tokens == asked_by == {OWN_TOKEN}
    told = site.run("upkeep", "--status")
    assert told.returncode == 0, told.stderr
    lines = {line.split()[0]: line.split() for line in told.stdout.splitlines()}
    assert set(lines) >= {"offboard", "reverify", "rotate-credentials"}
    assert "never" not in lines["offboard"][1:2]


def test_what_a_killed_process_was_at_another_takes_over(site: Site) -> None:
    other = site.inventory
    short = {"SECMESH_TENANCY_LEASE_SECONDS": "4"}
    with served(site, SECMESH_TENANCY_UPKEEP="false") as (address, _):
        tenant = new_tenant(address, site)
        begin_and_leave(address, site, tenant)
    other.hangs, other.asked = True, 0
    with served(site, **short) as (_, first):
        wait_for(lambda: other.asked > 0)
        first.kill()
        first.wait()
    other.hangs, other.answers = False, True
    with served(site, **short) as (address, _):
        wait_for(lambda: has_left(address, site, tenant))


def users_keys(aws: AwsEndpoint, number: str) -> tuple[Any, AwsAccessKey]:
    """Make a user in an account of its own; give its client and a key."""
    sts = boto3.client("sts", region_name=REGION, endpoint_url=aws.url)
    lent = sts.assume_role(RoleArn=f"arn:aws:iam::{number}:role/owner", RoleSessionName="owner")
    sts.close()
    given = lent["Credentials"]
    iam = boto3.client(
        "iam",
        region_name=REGION,
        endpoint_url=aws.url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    iam.create_user(UserName=USER)
    made = iam.create_access_key(UserName=USER)["AccessKey"]
    key = AwsAccessKey(access_key_id=made["AccessKeyId"], secret_access_key=made["SecretAccessKey"])
    return iam, key


def keyed_account(channel: Any, tenant: str, number: str, key: AwsAccessKey) -> str:
    """Make an account that is entered by a key, verified once; give its name."""
    parent = f"tenants/{tenant}"
    cloud = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="Cloud")
    ProviderServiceStub(channel).CreateProvider(
        CreateProviderRequest(parent=parent, provider=cloud, provider_id="aws")
    )
    given = Account(
        provider=f"{parent}/providers/aws",
        cloud_account_id=number,
        account_name="Account",
        credential_type=CREDENTIAL_TYPE_AWS_ACCESS_KEY,
    )
    made = AccountServiceStub(channel).CreateAccount(
        accounts.CreateAccountRequest(parent=parent, account=given)
    )
    stub = CredentialServiceStub(channel)
    name = f"{made.name}/credential"
    stub.StoreCredential(credentials.StoreCredentialRequest(name=name, aws_access_key=key))
    stub.SetCredentialRotation(credentials.SetCredentialRotationRequest(name=name, interval_days=1))
    OnboardingServiceStub(channel).VerifyAccount(VerifyAccountRequest(name=made.name))
    return str(made.name)


async def let_a_day_pass(site: Site, tenant: str, account_id: str) -> None:
    """Have the key be due now."""
    with embedded_store(site.endpoint, site.names) as store:
        known = CredentialStore(store, SystemClock())
        found = await known.find(tenant, account_id)
        credential = found.usable()
        credential.rotation.next_time.CopyFrom(timestamp(SystemClock().now()))
        await known.replace(found, credential)


async def test_accounts_are_verified_again_and_keys_change(site: Site, aws: AwsEndpoint) -> None:
    number = f"{uuid.uuid4().int % 10**12:012d}"
    iam, key = users_keys(aws, number)
    with served(site) as (address, _):
        tenant = new_tenant(address, site)
        with connect(address, token=site.token(tenant, "admin")) as channel:
            name = keyed_account(channel, tenant, number, key)
            stub = AccountServiceStub(channel)
            read = accounts.GetAccountRequest(name=name)
            first = stub.GetAccount(read).verify_time
            wait_for(lambda: stub.GetAccount(read).verify_time != first)
            asked = credentials.GetCredentialRequest(name=f"{name}/credential")
            known = CredentialServiceStub(channel)
            assert known.GetCredential(asked).current_version == 1
            await let_a_day_pass(site, tenant, name.rpartition("/")[2])
            wait_for(lambda: known.GetCredential(asked).current_version == 2)
    keys = {
        each["AccessKeyId"] for each in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    }
    iam.close()
    assert len(keys) == 2
    assert key.access_key_id in keys


def test_the_command_does_once_what_is_due(site: Site) -> None:
    off = {"SECMESH_TENANCY_UPKEEP": "false"}
    with served(site, **off) as (address, _):
        tenant = new_tenant(address, site)
        begin_and_leave(address, site, tenant)
        told = site.run("upkeep", "--status")
        assert {line.split()[1] for line in told.stdout.splitlines()} == {"never"}
        site.inventory.answers = True
        done: list[str] = []

        def run() -> bool:
            told = site.run("upkeep")
            assert told.returncode == 0, told.stderr
            done.append(told.stdout)
            return has_left(address, site, tenant)

        # Not sooner than a second after the call before it.
        wait_for(run)
        assert all(line.split()[1] == "done" for line in done[-1].splitlines())
