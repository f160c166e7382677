"""The real tenancy service behind the real gateway: each method over REST, and what is refused."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from cli.embedded.platform import REGION, session_of
from gateway.contracts import deployables
from mesh.contract.catalogue import Method
from secmesh.tenancy.v1 import tenant_service_pb2
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from tests.mesh.gateway_fixtures import (
    assert_refused,
    violations,
)
from tests.mesh.grpc_web import call as call_web
from tests.mesh.tenancy_site import ROOT, Site, running_site

NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
SERVICES = (
    "AccountService",
    "CostService",
    "CredentialService",
    "ExecutionService",
    "OnboardingService",
    "ProviderService",
    "ScanResultService",
    "ScheduleService",
    "TenantService",
)
ALL = deployables()["tenancy"].methods
METHODS = [each for each in ALL if each.descriptor.containing_service.name in SERVICES]
"""Those that the walk calls; the others have tests of their own."""
OPEN = [each for each in ALL if each.without_token]
EACH_METHOD = pytest.mark.parametrize("method", ALL, ids=lambda each: each.descriptor.name)
EACH_CLOSED = pytest.mark.parametrize(
    "method", [each for each in ALL if each not in OPEN], ids=lambda each: each.descriptor.name
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("tenancy")) as made:
        yield made


def client_of(site: Site, account: str, service: Any) -> Any:
    """Give a client of an account's owner."""
    given = session_of(site.endpoint, f"arn:aws:iam::{account}:role/owner")
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=site.endpoint,
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=given["AWS_SESSION_TOKEN"],
    )


def key_of_user(site: Site, account: str) -> dict[str, str]:
    """Make an access key of the account's user."""
    iam = client_of(site, account, "iam")
    users = [each["UserName"] for each in iam.list_users()["Users"]]
    if "reader" not in users:
        iam.create_user(UserName="reader")
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    iam.close()
    return {"accessKeyId": made["AccessKeyId"], "secretAccessKey": made["SecretAccessKey"]}


def test_each_method_is_reached_over_rest(site: Site) -> None:
    tenants(site)
    providers(site)
    account = accounts(site)
    credentials(site)
    execution = schedules(site, account)
    executions(site, execution)
    offboarding(site)
    # There is no result without an executor; that none is there is the service's own word.
    missing = site.gateway.get(f"{ROOT}/tenants/acme/scanResults/prod.1795396582579.YQ")
    assert_refused(missing, NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert {each.descriptor.name for each in METHODS} - site.called == {"GetScanResult"}


def tenants(site: Site) -> None:
    site.do("GetTenant", "GET", "tenants/acme")
    listed = site.do("ListTenants", "GET", "tenants?status=TENANT_STATUS_ACTIVE")
    assert {"tenants/acme", "tenants/beta"} <= {each["name"] for each in listed["tenants"]}
    found = site.do("LookupTenant", "GET", "tenants:lookup?tenantName=tenant%20ACME")
    assert found["name"] == "tenants/acme"
    body = {"description": "First"}
    changed = site.do("UpdateTenant", "PATCH", "tenants/acme?updateMask=description", body)
    assert changed["description"] == "First"
    site.do("GetTenantQuotas", "GET", "tenants/acme/quotas")
    body = {"maxAccounts": "7"}
    path = "tenants/acme/quotas?updateMask=maxAccounts"
    quotas = site.do("UpdateTenantQuotas", "PATCH", path, body)
    assert quotas["maxAccounts"] == "7"
    assert site.do("EstimateCost", "GET", "tenants/acme:estimateCost")


def providers(site: Site) -> None:
    for provider in ("aws", "spare"):
        body = {"providerType": "PROVIDER_TYPE_AWS", "providerName": f"Cloud {provider}"}
        path = f"tenants/acme/providers?providerId={provider}"
        site.do("CreateProvider", "POST", path, body)
    spare = "tenants/acme/providers/spare"
    site.do("GetProvider", "GET", spare)
    assert len(site.do("ListProviders", "GET", "tenants/acme/providers")["providers"]) == 2
    body = {"providerName": "Spare"}
    site.do("UpdateProvider", "PATCH", f"{spare}?updateMask=providerName", body)
    site.do("DeleteProvider", "DELETE", spare)
    site.do("UndeleteProvider", "POST", f"{spare}:undelete", {})


def accounts(site: Site) -> str:
    """Walk through the account's life; give the name of one that may be entered."""
    number = "111122223333"
    body = {
        "provider": "tenants/acme/providers/aws",
        "cloudAccountId": number,
        "accountName": "Production",
        "credentialType": "CREDENTIAL_TYPE_AWS_IAM_ROLE",
        "roleArn": f"arn:aws:iam::{number}:role/secmesh-scan",
    }
    name: str = site.do("CreateAccount", "POST", "tenants/acme/accounts", body)["name"]
    site.do("GetAccount", "GET", name)
    assert len(site.do("ListAccounts", "GET", "tenants/acme/accounts")["accounts"]) == 1
    query = f"providerType=PROVIDER_TYPE_AWS&cloudAccountId={number}"
    assert site.do("LookupAccount", "GET", f"tenants/acme/accounts:lookup?{query}")["name"] == name
    body = {"description": "What customers use"}
    site.do("UpdateAccount", "PATCH", f"{name}?updateMask=description", body)
    query = "format=ONBOARDING_FORMAT_CLOUDFORMATION"
    given = site.do("GetOnboarding", "GET", f"{name}/onboarding?{query}")
    stacks = client_of(site, number, "cloudformation")
    stacks.create_stack(
        StackName="secmesh", TemplateBody=given["text"], Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    stacks.close()
    site.do("SuspendAccount", "POST", f"{name}:suspend", {"reason": "Wait"})
    site.do("ResumeAccount", "POST", f"{name}:resume", {})
    site.do("DeleteAccount", "DELETE", name)
    site.do("UndeleteAccount", "POST", f"{name}:undelete", {})
    verified = site.do("VerifyAccount", "POST", f"{name}:verify", {})
    assert verified["entered"]
    assert {each["outcome"] for each in verified["checks"]} == {"CHECK_OUTCOME_PASSED"}
    vended = site.do("VendCredentials", "POST", f"{name}:vendCredentials", {"purpose": "scan"})
    assert vended["cloudAccountId"] == number
    return name


def credentials(site: Site) -> None:
    number = "444455556666"
    body = {
        "provider": "tenants/acme/providers/aws",
        "cloudAccountId": number,
        "accountName": "Staging",
        "credentialType": "CREDENTIAL_TYPE_AWS_ACCESS_KEY",
    }
    made = site.do("CreateAccount", "POST", "tenants/acme/accounts", body)
    name = f"{made['name']}/credential"
    keys = [key_of_user(site, number) for _ in range(2)]
    stored = site.do("StoreCredential", "POST", f"{name}:store", {"awsAccessKey": keys[0]})
    assert keys[0]["secretAccessKey"] not in json.dumps(stored)
    rotated = site.do("RotateCredential", "POST", f"{name}:rotate", {"awsAccessKey": keys[1]})
    assert rotated["currentVersion"] == "2"
    back = site.do("RollbackCredential", "POST", f"{name}:rollback", {})
    renewed = site.do("SetCredentialRotation", "POST", f"{name}:setRotation", {"intervalDays": 30})
    assert renewed["rotation"]["intervalDays"] == 30
    shown = site.do("GetCredential", "GET", name)
    assert shown["currentVersion"] == back["currentVersion"]
    found = site.do("RetrieveCredential", "POST", f"{name}:retrieve", {"purpose": "scan"})
    assert found["credentials"]["secret_access_key"] == keys[0]["secretAccessKey"]
    versions = site.do("ListCredentialVersions", "GET", f"{name}/versions")["versions"]
    assert len(versions) >= 2
    site.do("DeleteCredential", "DELETE", name)
    site.do("UndeleteCredential", "POST", f"{name}:undelete", {})
    read = site.do("ListCredentialAccesses", "GET", "tenants/acme/credentialAccesses")["accesses"]
    assert "CREDENTIAL_ACTION_RETRIEVE" in {each["action"] for each in read}


def schedules(site: Site, account: str) -> str:
    """Walk through a schedule's life; give the name of an execution that waits."""
    begun, first, last = (
        f"{datetime.now(UTC) - timedelta(days=back):%Y-%m-%dT%H:%M:%SZ}" for back in (4, 3, 1)
    )
    body = {
        "startTime": begun,
        "overlapPolicy": "OVERLAP_POLICY_ALLOW",
        "accountId": account.rpartition("/")[2],
        "scheduleName": "Nightly",
        "expression": "30 2 * * *",
        "timeZone": "Europe/Berlin",
    }
    path = "tenants/acme/schedules?scheduleId=nightly"
    name: str = site.do("CreateSchedule", "POST", path, body)["name"]
    site.do("GetSchedule", "GET", name)
    assert len(site.do("ListSchedules", "GET", "tenants/acme/schedules")["schedules"]) == 1
    changed = {"scheduleName": "Every night"}
    site.do("UpdateSchedule", "PATCH", f"{name}?updateMask=scheduleName", changed)
    asked = {
        "schedule": {"expression": "30 2 * * *", "timeZone": "Europe/Berlin"},
        "afterTime": "2027-03-27T12:00:00Z",
        "count": 2,
    }
    fires = site.do("PreviewSchedule", "POST", "tenants/acme/schedules:preview", asked)["fires"]
    assert [each["mark"] for each in fires] == ["FIRE_MARK_GAP_SHIFTED", "FIRE_MARK_PLAIN"]
    site.do("PauseSchedule", "POST", f"{name}:pause", {"reason": "Wait"})
    site.do("ResumeSchedule", "POST", f"{name}:resume", {})
    site.do("DeleteSchedule", "DELETE", name)
    site.do("UndeleteSchedule", "POST", f"{name}:undelete", {})
    site.do("ListDueSchedules", "GET", "schedules:due")
    period = {"startTime": first, "endTime": last}
    assert site.do("BackfillSchedule", "POST", f"{name}:backfill", period)["executions"]
    body = {"overlapPolicy": "OVERLAP_POLICY_ALLOW"}
    execution: str = site.do("TriggerSchedule", "POST", f"{name}:trigger", body)["name"]
    return execution


def executions(site: Site, name: str) -> None:
    schedule = name.partition("/executions/")[0]
    site.do("GetExecution", "GET", name)
    listed = site.do("ListExecutions", "GET", f"{schedule}/executions?triggered=true")["executions"]
    assert name in {each["name"] for each in listed}
    ended = site.do("CancelExecution", "POST", f"{name}:cancel", {})
    assert ended["status"] == "EXECUTION_STATUS_CANCELLED"
    queued = site.do("RetryExecution", "POST", f"{name}:retry", {})
    assert queued["status"] == "EXECUTION_STATUS_QUEUED"
    assert site.do("ListScanResults", "GET", "tenants/acme/scanResults") == {}


def offboarding(site: Site) -> None:
    gone = "tenants/leaving"
    body = {"tenantName": "Leaving"}
    site.do("CreateTenant", "POST", "tenants?tenantId=leaving", body, "leaving")
    site.do("DeleteTenant", "DELETE", gone, None, "leaving")
    site.do("UndeleteTenant", "POST", f"{gone}:undelete", {}, "leaving")
    site.do("DeleteTenant", "DELETE", gone, None, "leaving")
    confirmed = {"confirmTenantId": "leaving", "shred": True}
    told = site.do("OffboardTenant", "POST", f"{gone}:offboard", confirmed, "leaving")
    assert "tenancy.tenants" in {each["store"] for each in told["stores"]}
    kept = site.do("GetTenantOffboarding", "GET", f"{gone}/offboarding", None, "leaving")
    assert kept["name"] == told["name"]


def send(
    site: Site, method: Method, tenant: str, headers: dict[str, str], **query: str
) -> httpx.Response:
    """Call a method over REST with names of a tenant and else as little as it takes."""
    route = method.routes[0]
    named = "".join(route.template.replace("{", "").replace("}", ""))
    path = "/".join(piece.partition("=")[2] or piece for piece in named.split("/"))
    path = path.replace("*", "some-id").replace("tenants/some-id", f"tenants/{tenant}", 1)
    content = "{}" if route.body else None
    return site.gateway.client.request(
        route.verb, path, headers=headers, content=content, params=query
    )


@EACH_CLOSED
def test_without_a_token_nothing_is_answered(site: Site, method: Method) -> None:
    answer = send(site, method, "acme", {})
    assert_refused(answer, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")


def test_the_keys_of_the_issuer_need_no_token(site: Site) -> None:
    assert {each.descriptor.name for each in OPEN} == {"GetKeySet", "IssueToken"}
    answer = site.gateway.client.get(f"{ROOT}/key_set")
    assert answer.status_code == 200, answer.text


@EACH_CLOSED
def test_another_tenants_token_learns_nothing(site: Site, method: Method) -> None:
    """What is there and what is not is answered in the same words."""
    token = site.gateway.token("beta")
    texts = []
    for tenant in ("acme", "never-was"):
        answer = send(site, method, tenant, {"authorization": f"Bearer {token}"})
        assert answer.status_code in (403, 404), answer.text
        if answer.status_code == 404:
            assert_refused(answer, NOT_FOUND, "RESOURCE_NOT_FOUND")
        else:
            metadata = assert_refused(answer, DENIED, "PERMISSION_MISSING")
            assert metadata["permission"].startswith("platform.")
        text = answer.text.replace(answer.headers["x-request-id"], "")
        texts.append(text.replace(tenant, "TENANT"))
    assert texts[0] == texts[1]


@EACH_METHOD
def test_a_parameter_that_there_is_none_of_is_named(site: Site, method: Method) -> None:
    headers = {"authorization": f"Bearer {site.gateway.token()}"}
    answer = send(site, method, "acme", headers, colour="red")
    assert answer.status_code == 400, answer.text
    assert "colour" in answer.text


@pytest.mark.parametrize(
    ("path", "text", "reason", "at_fault"),
    [
        ("tenants/acme/providers", '{"providerName": "x"', "BODY_INVALID", ""),
        ("tenants/acme/providers", '{"colour": "red"}', "BODY_INVALID", "colour"),
        ("tenants/acme/accounts", '{"cloudAccountId": 1}', "BODY_INVALID", "cloud_account_id"),
        ("tenants/acme/schedules:preview", '{"count": "many"}', "BODY_INVALID", "count"),
        ("tenants/acme/schedules:preview", '{"count": 101}', "FIELD_INVALID", "count"),
        ("tenants/ACME/schedules:preview", "{}", "FIELD_INVALID", "parent"),
    ],
)
def test_bad_input_is_refused_by_name(
    site: Site, path: str, text: str, reason: str, at_fault: str
) -> None:
    answer = site.gateway.call("POST", f"{ROOT}/{path}", content=text)
    assert_refused(answer, INVALID, reason)
    assert at_fault in answer.text


def test_a_time_that_there_is_none_of_is_refused_by_field(site: Site) -> None:
    asked = {"schedule": {"expression": "61 2 * * *"}}
    answer = site.gateway.post(f"{ROOT}/tenants/acme/schedules:preview", asked)
    assert_refused(answer, INVALID, "FIELD_INVALID")
    assert list(violations(answer)) == ["schedule.expression"]
    asked = {"schedule": {"expression": "@daily", "timeZone": "Mars/Olympus"}}
    answer = site.gateway.post(f"{ROOT}/tenants/acme/schedules:preview", asked)
    assert list(violations(answer)) == ["schedule.time_zone"]


def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    body = {"tenantName": "x" * (5 << 20)}
    answer = site.gateway.post(f"{ROOT}/tenants?tenantId=large", body)
    assert answer.status_code in (400, 413), answer.text
    assert json.loads(answer.text)["details"]


def test_grpc_and_grpc_web_give_what_rest_gives(site: Site) -> None:
    rest = site.gateway.get(f"{ROOT}/tenants/acme").json()
    request = tenant_service_pb2.GetTenantRequest(name="tenants/acme")
    with site.gateway.channel() as channel:
        stub = TenantServiceStub(channel)
        plain = stub.GetTenant(request, metadata=site.gateway.bearer(), timeout=60)
    assert MessageToDict(plain) == rest
    path = "/secmesh.tenancy.v1.TenantService/GetTenant"
    headers = {"authorization": f"Bearer {site.gateway.token()}"}
    answer = call_web(site.gateway.client, path, request, headers)
    (message,) = answer.messages
    assert answer.status == 0
    assert Tenant.FromString(message) == plain
    missing = tenant_service_pb2.GetTenantRequest(name="tenants/beta")
    refused = call_web(site.gateway.client, path, missing, headers)
    assert (refused.status, refused.reason) == (NOT_FOUND.value[0], "RESOURCE_NOT_FOUND")


def test_a_page_token_of_another_tenant_is_refused(site: Site) -> None:
    for number in range(2):
        body = {"providerType": "PROVIDER_TYPE_AWS", "providerName": f"Beta {number}"}
        site.do("CreateProvider", "POST", "tenants/beta/providers", body, "beta")
    page = site.do("ListProviders", "GET", "tenants/beta/providers?pageSize=1", None, "beta")
    stolen = f"{ROOT}/tenants/acme/providers?pageSize=1&pageToken={page['nextPageToken']}"
    assert_refused(site.gateway.get(stolen), INVALID, "PAGE_TOKEN_INVALID")


def test_the_document_lists_each_method(site: Site) -> None:
    document = site.gateway.client.get("/openapi.json").json()
    operations = {
        operation["operationId"].rpartition("_")[2]
        for path, verbs in document["paths"].items()
        if path.startswith(f"{ROOT}/")
        for operation in verbs.values()
        if "operationId" in operation
    }
    assert {each.descriptor.name for each in METHODS} <= operations
