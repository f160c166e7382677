"""Executor, tenancy and inventory as processes that serve nobody without a certificate."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest

from cli.embedded.platform import (
    EMBEDDED_CREDENTIALS,
    PRINCIPAL,
    REGION,
    platform_credentials,
    session_of,
)
from mesh.identity.keys import JWKS_FILE, create_signing_key, sign_token
from mesh.tls import KeyPair
from secmesh.inventory.v1.sync_service_pb2 import GetSyncRequest
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.account_pb2 import CREDENTIAL_TYPE_AWS_IAM_ROLE, Account
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh.tenancy.v1.execution_pb2 import (
    EXECUTION_STATUS_QUEUED,
    EXECUTION_STATUS_RUNNING,
    EXECUTION_STATUS_SUCCEEDED,
    Execution,
)
from secmesh.tenancy.v1.execution_service_pb2 import GetExecutionRequest
from secmesh.tenancy.v1.execution_service_pb2_grpc import ExecutionServiceStub
from secmesh.tenancy.v1.onboarding_service_pb2 import (
    ONBOARDING_FORMAT_CLOUDFORMATION,
    GetOnboardingRequest,
    VerifyAccountRequest,
)
from secmesh.tenancy.v1.onboarding_service_pb2_grpc import OnboardingServiceStub
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh.tenancy.v1.provider_service_pb2_grpc import ProviderServiceStub
from secmesh.tenancy.v1.scan_result_service_pb2 import GetScanResultRequest
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import ScanResultServiceStub
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.schedule_service_pb2 import CreateScheduleRequest, TriggerScheduleRequest
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.service_credential_pb2 import ServiceCredential
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from secmesh.tenancy.v1.token_service_pb2 import (
    CreateServiceCredentialRequest,
    GetKeySetRequest,
)
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client import CallRefused, Tls, connect
from tests.certificates import Authority
from tests.inventory_store import inventory_store
from tests.mesh.gateway_fixtures import process
from tests.ports import free_port

TENANT, PLATFORM = "acme", "platform"
ACCOUNT = "555566667777"
SCAN_SECONDS = 400
UNDER_WAY = (EXECUTION_STATUS_QUEUED, EXECUTION_STATUS_RUNNING)
RIGHTS: Mapping[str, dict[str, list[str]]] = {
    "executor": {"roles": ["operator"]},
    "inventory": {"permissions": ["tenancy.credentials.vend"]},
    "removal": {"permissions": ["platform.tenants.remove"]},
}
pytestmark = pytest.mark.timeout(900)


@dataclass
class Site:
    """Services that speak mutual TLS, with each other and with us."""

    folder: Path
    ca: Path
    own: KeyPair
    endpoint: str
    addresses: Mapping[str, str]

    def tls(self) -> Tls:
        return Tls(self.ca, self.own.certificate, self.own.key)

    def channel(self, service: str, tenant: str = TENANT, *roles: str) -> grpc.Channel:
        """Call as somebody of a tenant, with a certificate."""
        token = sign_token(
            self.folder / "keys", subject="ann", tenant=tenant, roles=roles or ["admin"]
        )
        return connect(self.addresses[service], token=token, tls=self.tls())

    def settings(self, service: str, pair: KeyPair) -> dict[str, str]:
        """Give what a service is told of TLS, and whom it believes."""
        prefix = f"SECMESH_{service.upper()}"
        return {
            "SECMESH_HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.endpoint,
            f"{prefix}_LISTEN": self.addresses[service],
            f"{prefix}_ADMIN": "",
            f"{prefix}_JWKS": str(self.folder / "keys" / JWKS_FILE),
            f"{prefix}_TLS_CERTIFICATE": str(pair.certificate),
            f"{prefix}_TLS_KEY": str(pair.key),
            f"{prefix}_TLS_CLIENT_CA": str(self.ca),
            f"{prefix}_ISSUERS": f"secmesh-tenancy=grpcs://{self.addresses['tenancy']}",
            f"{prefix}_ISSUERS_CA": str(self.ca),
        }

    def credential(self, prefix: str, name: str) -> dict[str, str]:
        """Give what a service is told of the credential that it shows."""
        return {
            f"{prefix}CLIENT_ID": f"{PLATFORM}.{name}",
            f"{prefix}CLIENT_SECRET_FILE": str(self.folder / name),
        }

    def tokens(self, name: str) -> dict[str, str]:
        """Give where a process of the tenancy service has its tokens from."""
        return {
            "SECMESH_TENANCY_TOKENS_ADDRESS": self.addresses["tenancy"],
            "SECMESH_TENANCY_TOKENS_CA": str(self.ca),
            "SECMESH_TENANCY_INVENTORY_ADDRESS": self.addresses["inventory"],
            "SECMESH_TENANCY_INVENTORY_CA": str(self.ca),
            **self.credential("SECMESH_TENANCY_", name),
        }

    def make_credentials(self) -> None:
        """Have the tenancy service make a credential for each who calls others by himself."""
        with self.channel("tenancy", PLATFORM, "admin", "platform") as channel:
            self.make_tenant(channel, PLATFORM)
            for name, rights in RIGHTS.items():
                made = ServiceCredential(
                    tenants=["*"],
                    roles=rights.get("roles"),
                    permissions=rights.get("permissions"),
                )
                request = CreateServiceCredentialRequest(
                    parent=f"tenants/{PLATFORM}",
                    service_credential=made,
                    service_credential_id=name,
                )
                issued = TokenServiceStub(channel).CreateServiceCredential(request)
                (self.folder / name).write_text(issued.client_secret)

    def make_tenant(self, channel: grpc.Channel, tenant: str) -> None:
        made = Tenant(tenant_name=f"The {tenant}")
        request = tenants.CreateTenantRequest(tenant=made, tenant_id=tenant)
        TenantServiceStub(channel).CreateTenant(request)


def listening(stack: ExitStack, folder: Path, name: str, settings: Mapping[str, str]) -> Any:
    """Start a process; give what it says once it is ready."""
    module, _, command = name.partition(" ")
    log = folder / f"{name.replace(' ', '-')}.log"
    own = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    started = [sys.executable, "-m", module, *command.split()]
    child = stack.enter_context(process(started, log, {**own, **settings}))
    assert child.stdout is not None
    word, _, rest = child.stdout.readline().partition(" ")
    assert word in ("LISTENING", "WORKING"), log.read_text()[-3000:]
    return json.loads(rest)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("service-tls")
    create_signing_key(folder / "keys")
    authority = Authority.make(folder)
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("tenancy", "inventory")}
    with ExitStack() as stack:
        endpoint = listening(stack, folder, "mesh.embedded.aws", {})["endpoint"]
        made = Site(folder, authority.file, authority.issue("operator"), endpoint, addresses)
        platform = platform_credentials(endpoint)
        tenancy = authority.issue("tenancy")
        serving = {
            **platform,
            **made.settings("tenancy", tenancy),
            **made.tokens("removal"),
            "SECMESH_TENANCY_SET_UP": "true",
            "SECMESH_TENANCY_PRINCIPAL_ARN": PRINCIPAL,
        }
        listening(stack, folder, "services.tenancy serve", serving)
        made.make_credentials()
        prefix = "SECMESH_INVENTORY_TENANCY_"
        reading = {
            **EMBEDDED_CREDENTIALS,
            **made.settings("inventory", authority.issue("inventory")),
            **made.credential(prefix, "inventory"),
            "DATABASE_URL": inventory_store(folder),
            f"{prefix}ADDRESS": addresses["tenancy"],
            f"{prefix}CA": str(authority.file),
        }
        listening(stack, folder, "services.inventory serve", reading)
        working = {
            **platform,
            **made.settings("tenancy", tenancy),
            **made.tokens("executor"),
            "SECMESH_TENANCY_LEASE_SECONDS": "60",
        }
        listening(stack, folder, "services.tenancy executor", working)
        yield made


def entered(site: Site, channel: grpc.Channel) -> Account:
    """Make an account whose owner lets the mesh in."""
    cloud = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="AWS")
    provider = ProviderServiceStub(channel).CreateProvider(
        CreateProviderRequest(parent=f"tenants/{TENANT}", provider=cloud, provider_id="aws")
    )
    account = AccountServiceStub(channel).CreateAccount(
        CreateAccountRequest(
            parent=f"tenants/{TENANT}",
            account=Account(
                provider=provider.name,
                cloud_account_id=ACCOUNT,
                account_name="Only",
                credential_type=CREDENTIAL_TYPE_AWS_IAM_ROLE,
                role_arn=f"arn:aws:iam::{ACCOUNT}:role/secmesh-scan",
            ),
        )
    )
    onboarding = OnboardingServiceStub(channel)
    given = onboarding.GetOnboarding(
        GetOnboardingRequest(name=account.name, format=ONBOARDING_FORMAT_CLOUDFORMATION)
    )
    apply(site.endpoint, given.text)
    assert onboarding.VerifyAccount(VerifyAccountRequest(name=account.name)).entered
    return account


def apply(endpoint: str, text: str) -> None:
    """Make a stack as the account's owner."""
    owner = session_of(endpoint, f"arn:aws:iam::{ACCOUNT}:role/owner")
    stacks = boto3.client(
        "cloudformation",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=owner["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=owner["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=owner["AWS_SESSION_TOKEN"],
    )
    capabilities: Any = ["CAPABILITY_NAMED_IAM"]
    stacks.create_stack(StackName="secmesh", TemplateBody=text, Capabilities=capabilities)
    stacks.close()


def ran(channel: grpc.Channel, account: Account) -> Execution:
    """Have the account scanned; give the execution once it is over."""
    schedules = ScheduleServiceStub(channel)
    wanted = Schedule(
        account_id=account.name.rpartition("/")[2],
        schedule_name="By hand",
        expression="0 3 * * *",
        regions=[REGION],
    )
    schedule = schedules.CreateSchedule(
        CreateScheduleRequest(parent=f"tenants/{TENANT}", schedule=wanted, schedule_id="hand")
    )
    run: Execution = schedules.TriggerSchedule(TriggerScheduleRequest(name=schedule.name))
    until = time.monotonic() + SCAN_SECONDS
    while run.status in UNDER_WAY:
        assert time.monotonic() < until, run
        time.sleep(0.5)
        run = ExecutionServiceStub(channel).GetExecution(GetExecutionRequest(name=run.name))
    return run


def test_a_tenant_is_scanned_and_leaves_over_mutual_tls(site: Site) -> None:
    """Each of the three calls another by its certificate and a token for its credential."""
    with site.channel("tenancy", TENANT, "admin", "platform") as channel:
        site.make_tenant(channel, TENANT)
        run = ran(channel, entered(site, channel))
        assert run.status == EXECUTION_STATUS_SUCCEEDED, run
        found = GetScanResultRequest(name=run.scan_result)
        result = ScanResultServiceStub(channel).GetScanResult(found)
        assert result.record_count > 0
        with site.channel("inventory") as inventory:
            read = SyncServiceStub(inventory).GetSync(GetSyncRequest(name=result.sync))
        assert read.cloud_account_id == ACCOUNT
        name = f"tenants/{TENANT}"
        service = TenantServiceStub(channel)
        service.DeleteTenant(tenants.DeleteTenantRequest(name=name))
        told = service.OffboardTenant(
            offboarding.OffboardTenantRequest(name=name, confirm_tenant_id=TENANT, shred=True)
        )
    (left,) = (each for each in told.stores if each.store == "inventory")
    # What it may keep, such as backups of all tenants together, is told and not refused.
    assert left.state in (offboarding.OFFBOARDED_STATE_REMOVED, offboarding.OFFBOARDED_STATE_KEPT)
    assert (left.note, left.removed > 0) == ("", True)


@pytest.mark.parametrize("service", ["tenancy", "inventory"])
@pytest.mark.parametrize("shown", ["none", "a stranger's"])
def test_nobody_is_served_without_a_certificate_of_ours(
    site: Site, tmp_path: Path, service: str, shown: str
) -> None:
    """Not even the keys of the issuer, which need no token."""
    tls = Tls(site.ca)
    if shown != "none":
        stranger = Authority.make(tmp_path, "stranger").issue("eve")
        tls = Tls(site.ca, stranger.certificate, stranger.key)
    token = sign_token(site.folder / "keys", subject="ann", tenant=TENANT, roles=["admin"])
    with connect(site.addresses[service], token=token, tls=tls) as channel:
        asked: dict[str, Any] = {
            "tenancy": (TokenServiceStub(channel).GetKeySet, GetKeySetRequest()),
            "inventory": (
                SyncServiceStub(channel).GetSync,
                GetSyncRequest(name=f"tenants/{TENANT}/syncs/none"),
            ),
        }
        method, request = asked[service]
        with pytest.raises(CallRefused) as refused:
            method(request)
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
