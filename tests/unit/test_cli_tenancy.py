"""`secmesh tenants|providers|accounts`, with their calls answered."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from secmesh.tenancy.v1 import account_service_pb2, provider_service_pb2, tenant_service_pb2
from secmesh.tenancy.v1.account_pb2 import ACCOUNT_STATUS_PENDING, Account
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.tenant_offboarding_pb2 import (
    OFFBOARDED_STATE_REMAINS,
    OffboardedStore,
    TenantOffboarding,
)
from secmesh.tenancy.v1.tenant_pb2 import Tenant, TenantQuotas
from tests.unit.cli_operator import SECONDS, TENANCY, Operator, operator

__all__ = ["operator"]
OWN = "tenants/acme"
ROLE = "arn:aws:iam::000000000001:role/audit"


@pytest.fixture
def tenancy(operator: Operator) -> Operator:
    operator.services = TENANCY
    return operator


def asked(tenancy: Operator, words: list[str], call: str, answer: Message) -> dict[str, Any]:
    """Run a command and give the request that it makes."""
    done = tenancy.run("-o", "json", *words)
    service, _, method = call.partition(".")
    request = tenancy.answer(service, method, answer)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert (shown[0] if isinstance(shown, list) else shown)["name"].startswith("tenants/")
    said: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=True)
    return said


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        (["get"], "GetTenant", {"name": OWN}),
        (["get", "beta"], "GetTenant", {"name": "tenants/beta"}),
        (["find", "Acme Corp"], "LookupTenant", {"tenant_name": "Acme Corp"}),
        (
            ["create", "acme", "Acme Corp", "--description", "Skates"],
            "CreateTenant",
            {
                "tenant_id": "acme",
                "tenant": {"tenant_name": "Acme Corp", "description": "Skates"},
            },
        ),
        (
            ["update", "--name", "Acme", "--description", "", "--etag", "v2"],
            "UpdateTenant",
            {
                "tenant": {"name": OWN, "etag": "v2", "tenant_name": "Acme"},
                "update_mask": "tenantName,description",
            },
        ),
        (
            ["delete", "beta", "--etag", "v1"],
            "DeleteTenant",
            {"name": "tenants/beta", "etag": "v1"},
        ),
        (["undelete", "beta"], "UndeleteTenant", {"name": "tenants/beta"}),
    ],
)
def test_tenants(
    tenancy: Operator, words: list[str], method: str, request_: dict[str, Any]
) -> None:
    found = asked(tenancy, ["tenants", *words], f"TenantService.{method}", Tenant(name=OWN))
    assert found == request_


def test_a_tenant_leaves(tenancy: Operator) -> None:
    done = tenancy.run("-o", "json", "tenants", "offboard", "beta", "--confirm", "beta")
    left = OffboardedStore(store="inventory", state=OFFBOARDED_STATE_REMAINS, remaining=4)
    request = tenancy.answer("TenantService", "OffboardTenant", TenantOffboarding(stores=[left]))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["state"] == "OFFBOARDED_STATE_REMAINS"
    assert MessageToDict(request) == {"name": "tenants/beta", "confirmTenantId": "beta"}


def test_a_plan_is_only_counted(tenancy: Operator) -> None:
    done = tenancy.run("tenants", "offboard", "beta", "--plan")
    request = tenancy.answer("TenantService", "OffboardTenant", TenantOffboarding())
    assert done.result(SECONDS).exit_code == 0
    assert MessageToDict(request) == {"name": "tenants/beta", "validateOnly": True}
    refused = tenancy.run("tenants", "offboard", "beta", "--plan", "--confirm", "beta")
    assert refused.result(SECONDS).exit_code == 2


def test_who_watches_goes_on_until_all_is_done(tenancy: Operator) -> None:
    words = ("tenants", "offboard", "beta", "--confirm", "beta", "--shred", "--watch")
    done = tenancy.run(*words)
    whole = TenantOffboarding()
    whole.complete_time.GetCurrentTime()
    for answer in (TenantOffboarding(), whole):
        request = tenancy.answer("TenantService", "OffboardTenant", answer)
        assert MessageToDict(request) == {
            "name": "tenants/beta",
            "confirmTenantId": "beta",
            "shred": True,
        }
    assert done.result(SECONDS).exit_code == 0


def test_how_a_tenant_left_is_told(tenancy: Operator) -> None:
    done = tenancy.run("tenants", "offboard", "beta")
    request = tenancy.answer("TenantService", "GetTenantOffboarding", TenantOffboarding())
    assert done.result(SECONDS).exit_code == 0
    assert MessageToDict(request) == {"name": "tenants/beta/offboarding"}


def test_quotas(tenancy: Operator) -> None:
    quotas = TenantQuotas(name=f"{OWN}/quotas", max_accounts=3)
    call = "TenantService.GetTenantQuotas"
    assert asked(tenancy, ["tenants", "quotas"], call, quotas) == {"name": quotas.name}
    words = ["tenants", "set-quotas", "acme", "--accounts", "0", "--schedules", "7"]
    call = "TenantService.UpdateTenantQuotas"
    assert asked(tenancy, words, call, quotas) == {
        "quotas": {"name": quotas.name, "max_accounts": "0", "max_schedules": "7"},
        "update_mask": "maxAccounts,maxSchedules",
    }


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        (["get", "aws"], "GetProvider", {"name": f"{OWN}/providers/aws"}),
        (
            ["create", "aws", "Production", "--id", "prod"],
            "CreateProvider",
            {
                "parent": OWN,
                "provider_id": "prod",
                "provider": {"provider_type": "PROVIDER_TYPE_AWS", "provider_name": "Production"},
            },
        ),
        (
            ["update", "providers/aws", "--name", "Live"],
            "UpdateProvider",
            {
                "provider": {"name": f"{OWN}/providers/aws", "provider_name": "Live", "etag": ""},
                "update_mask": "providerName",
            },
        ),
        (["delete", "aws"], "DeleteProvider", {"name": f"{OWN}/providers/aws"}),
        (["undelete", "aws"], "UndeleteProvider", {"name": f"{OWN}/providers/aws"}),
    ],
)
def test_providers(
    tenancy: Operator, words: list[str], method: str, request_: dict[str, Any]
) -> None:
    answer = Provider(name=f"{OWN}/providers/aws", provider_type=PROVIDER_TYPE_AWS)
    found = asked(tenancy, ["providers", *words], f"ProviderService.{method}", answer)
    request_.get("provider", {}).pop("etag", None)
    assert found == request_


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        (["get", "7f"], "GetAccount", {"name": f"{OWN}/accounts/7f"}),
        (
            ["find", "aws", "000000000001"],
            "LookupAccount",
            {
                "parent": OWN,
                "provider_type": "PROVIDER_TYPE_AWS",
                "cloud_account_id": "000000000001",
            },
        ),
        (
            ["create", "aws", "000000000001", "Shop", "--role", ROLE],
            "CreateAccount",
            {
                "parent": OWN,
                "account": {
                    "provider": f"{OWN}/providers/aws",
                    "cloud_account_id": "000000000001",
                    "account_name": "Shop",
                    "credential_type": "CREDENTIAL_TYPE_AWS_IAM_ROLE",
                    "role_arn": ROLE,
                },
            },
        ),
        (
            ["update", "7f", "--credentials", "aws-access-key", "--role", ""],
            "UpdateAccount",
            {
                "account": {
                    "name": f"{OWN}/accounts/7f",
                    "credential_type": "CREDENTIAL_TYPE_AWS_ACCESS_KEY",
                },
                "update_mask": "roleArn,credentialType",
            },
        ),
        (
            ["suspend", "accounts/7f", "--reason", "attacked", "--etag", "v3"],
            "SuspendAccount",
            {"name": f"{OWN}/accounts/7f", "reason": "attacked", "etag": "v3"},
        ),
        (["resume", "7f"], "ResumeAccount", {"name": f"{OWN}/accounts/7f"}),
        (["delete", "7f"], "DeleteAccount", {"name": f"{OWN}/accounts/7f"}),
        (["undelete", "7f"], "UndeleteAccount", {"name": f"{OWN}/accounts/7f"}),
    ],
)
def test_accounts(
    tenancy: Operator, words: list[str], method: str, request_: dict[str, Any]
) -> None:
    answer = Account(name=f"{OWN}/accounts/7f", status=ACCOUNT_STATUS_PENDING)
    found = asked(tenancy, ["accounts", *words], f"AccountService.{method}", answer)
    assert found == request_


@pytest.mark.parametrize(
    ("words", "call", "answer", "request_"),
    [
        (
            ["tenants", "list", "--status", "deleted"],
            "TenantService.ListTenants",
            tenant_service_pb2.ListTenantsResponse(tenants=[Tenant(name=OWN)]),
            {"status": "TENANT_STATUS_DELETED"},
        ),
        (
            ["providers", "list", "--type", "gcp", "--deleted"],
            "ProviderService.ListProviders",
            provider_service_pb2.ListProvidersResponse(providers=[Provider(name=f"{OWN}/p")]),
            {"parent": OWN, "show_deleted": True, "provider_type": "PROVIDER_TYPE_GCP"},
        ),
        (
            ["accounts", "list", "--provider", "aws", "--status", "active"],
            "AccountService.ListAccounts",
            account_service_pb2.ListAccountsResponse(accounts=[Account(name=f"{OWN}/a")]),
            {
                "parent": OWN,
                "provider": f"{OWN}/providers/aws",
                "status": "ACCOUNT_STATUS_ACTIVE",
            },
        ),
    ],
)
def test_lists(
    tenancy: Operator, words: list[str], call: str, answer: Message, request_: dict[str, Any]
) -> None:
    found = asked(tenancy, words, call, answer)
    found.pop("page_size", None)
    assert found == request_


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tenants", "update"], "nothing to change"),
        (["tenants", "list", "--status", "gone"], "no status"),
        (["providers", "create", "ibm", "x"], "no provider type"),
        (["accounts", "create", "aws", "000000000001", "x"], "--role"),
        (["accounts", "list", "--status", "active"], "--provider"),
        (["accounts", "update", "7f", "--credentials", "password"], "no way in"),
    ],
)
def test_wrong_usage_calls_nobody(tenancy: Operator, words: list[str], said: str) -> None:
    result = tenancy.run(*words).result(SECONDS)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
