"""What the tenancy service does in the story: a tenant, its accounts, a schedule, and its scan."""

import time
from datetime import UTC, datetime, timedelta

import grpc
from rich.text import Text

from cli.embedded.errors import StoryFailed
from cli.embedded.folder import TENANT
from cli.embedded.platform import ACCOUNT, REGION
from cli.embedded.sample_accounts import KEY_ACCOUNT, ROLE, access_key_of_user, apply_template
from cli.output import enum_word, talk, visible
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import onboarding_service_pb2 as onboarding
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey
from secmesh.tenancy.v1.credential_service_pb2 import StoreCredentialRequest
from secmesh.tenancy.v1.credential_service_pb2_grpc import CredentialServiceStub
from secmesh.tenancy.v1.execution_pb2 import (
    EXECUTION_STATUS_QUEUED,
    EXECUTION_STATUS_RUNNING,
    EXECUTION_STATUS_SUCCEEDED,
    Execution,
    ExecutionStatus,
)
from secmesh.tenancy.v1.execution_service_pb2 import ListExecutionsRequest
from secmesh.tenancy.v1.execution_service_pb2_grpc import ExecutionServiceStub
from secmesh.tenancy.v1.onboarding_service_pb2_grpc import OnboardingServiceStub
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh.tenancy.v1.provider_service_pb2_grpc import ProviderServiceStub
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.scan_result_service_pb2 import GetScanResultRequest
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import ScanResultServiceStub
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.schedule_service_pb2 import CreateScheduleRequest, PreviewScheduleRequest
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2 import CreateTenantRequest
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from secmesh_client import CallRefused

PARENT = f"tenants/{TENANT}"
PROVIDER, NIGHTLY, ONCE = "aws", "nightly", "once"
NIGHTLY_EXPRESSION, ZONE = "30 2 * * *", "Europe/Berlin"
PREVIEWED = 3
_SOON_SECONDS = (2, 15, 60)
"""Ahead of now, one after the other: a busy machine may let a moment pass meanwhile."""
_SCAN_SECONDS = 300
_PAUSE_SECONDS = 0.3
_UNDER_WAY = (EXECUTION_STATUS_QUEUED, EXECUTION_STATUS_RUNNING)
_ENTRY = ("external_id_wrong_refused", "external_id_missing_refused", "identity", "entry")


def enter_accounts(channel: grpc.Channel, endpoint: str) -> Account:
    """Onboard the tenant and two accounts, each its way; give the one that is scanned."""
    talk.print("\nA tenant and its accounts:", style="bold")
    made = Tenant(tenant_name="Acme Corporation")
    tenant = TenantServiceStub(channel).CreateTenant(
        CreateTenantRequest(tenant=made, tenant_id=TENANT)
    )
    cloud = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="AWS")
    ProviderServiceStub(channel).CreateProvider(
        CreateProviderRequest(parent=PARENT, provider=cloud, provider_id=PROVIDER)
    )
    _say("tenant", f"{tenant.name} {tenant.tenant_name!r}")
    account = _enter_by_role(channel, endpoint)
    _enter_by_key(channel, endpoint)
    return account


def _enter_by_role(channel: grpc.Channel, endpoint: str) -> Account:
    """Enter the sampled account by a role that its owner makes from our text."""
    account = _register(
        channel,
        Account(
            cloud_account_id=ACCOUNT,
            account_name="Production",
            credential_type=account_pb2.CREDENTIAL_TYPE_AWS_IAM_ROLE,
            role_arn=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
        ),
    )
    _say("account", f"{ACCOUNT} as {account.name}, {_status(account)}")
    given = OnboardingServiceStub(channel).GetOnboarding(
        onboarding.GetOnboardingRequest(
            name=account.name, format=onboarding.ONBOARDING_FORMAT_CLOUDFORMATION
        )
    )
    _say(
        "CloudFormation",
        f"{len(given.text)} characters: role {given.role_name}, which {given.principal_arn} "
        f"assumes with the external id {given.external_id[:8]}...; its owner applies it",
    )
    apply_template(endpoint, given.text)
    return _verify(channel, account)


def _enter_by_key(channel: grpc.Channel, endpoint: str) -> None:
    """Enter another account by the access key of a user, which is kept as a secret."""
    account = _register(
        channel,
        Account(
            cloud_account_id=KEY_ACCOUNT,
            account_name="Staging",
            credential_type=account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY,
        ),
    )
    key_id, secret = access_key_of_user(endpoint)
    stored = CredentialServiceStub(channel).StoreCredential(
        StoreCredentialRequest(
            name=f"{account.name}/credential",
            aws_access_key=AwsAccessKey(access_key_id=key_id, secret_access_key=secret),
        )
    )
    _say(
        "credentials",
        f"a key of {KEY_ACCOUNT} is version {stored.current_version} of a secret; "
        "answers never hold it",
    )
    _verify(channel, account)


def _register(channel: grpc.Channel, account: Account) -> Account:
    account.provider = f"{PARENT}/providers/{PROVIDER}"
    request = CreateAccountRequest(parent=PARENT, account=account)
    return AccountServiceStub(channel).CreateAccount(request)


def _verify(channel: grpc.Channel, account: Account) -> Account:
    request = onboarding.VerifyAccountRequest(name=account.name)
    found = OnboardingServiceStub(channel).VerifyAccount(request)
    if not found.entered:
        raise StoryFailed(f"{account.name} is not entered: {found.account.status_reason}")
    words = [f"{each.check} {_outcome(each)}" for each in found.checks if each.check in _ENTRY]
    reads = [each for each in found.checks if each.check not in _ENTRY]
    passed = sum(each.outcome == onboarding.CHECK_OUTCOME_PASSED for each in reads)
    told = f"{', '.join(words)}; {passed} of {len(reads)} reads allowed"
    _say("verified", f"{account.cloud_account_id} is {_status(found.account)}: {told}")
    return found.account


def scan(channel: grpc.Channel, account: Account, ssp_id: str) -> ScanResult:
    """Schedule scans of an account against a plan and wait for the first. Raises StoryFailed."""
    talk.print("\nIts scans:", style="bold")
    wanted = Schedule(account_id=account.name.rpartition("/")[2], regions=[REGION], ssp_id=ssp_id)
    _plan_nights(channel, wanted)
    due = _plan_once(channel, wanted)
    execution = _ended(channel)
    claimed = execution.create_time.ToDatetime(UTC)
    late = max((claimed - due).total_seconds(), 0)
    _say(
        "claimed",
        f"{late:.1f} s after it was due, by the scheduler: an execution that there is once",
    )
    took = execution.end_time.ToDatetime() - execution.start_time.ToDatetime()
    _say("run", f"by the executor, attempt {execution.attempts}, {took.total_seconds():.1f} s")
    if execution.status != EXECUTION_STATUS_SUCCEEDED:
        word = enum_word(ExecutionStatus.DESCRIPTOR, execution.status)
        raise StoryFailed(
            f"{execution.name} is {word}: {execution.error_reason} {execution.error_message}"
        )
    request = GetScanResultRequest(name=execution.scan_result)
    result = ScanResultServiceStub(channel).GetScanResult(request)
    _say("collected", f"{result.record_count} resources in {result.unit_count} units")
    _say("evaluated", f"{result.claim_count} claims, {result.contradicted_count} contradicted")
    _say("filed", f"{result.filed_count} records of the security service made or changed")
    return result


def _plan_nights(channel: grpc.Channel, wanted: Schedule) -> None:
    nightly = Schedule(expression=NIGHTLY_EXPRESSION, time_zone=ZONE, schedule_name="Every night")
    nightly.MergeFrom(wanted)
    service = ScheduleServiceStub(channel)
    made = service.CreateSchedule(
        CreateScheduleRequest(parent=PARENT, schedule=nightly, schedule_id=NIGHTLY)
    )
    request = PreviewScheduleRequest(parent=PARENT, schedule_id=NIGHTLY, count=PREVIEWED)
    fires = [each.local_time for each in service.PreviewSchedule(request).fires]
    _say("schedule", f"{made.name} {made.expression!r} in {made.time_zone}: {', '.join(fires)}")


def _plan_once(channel: grpc.Channel, wanted: Schedule) -> datetime:
    """Have the account scanned in a moment; give when."""
    for seconds in _SOON_SECONDS:
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
        once = Schedule(expression=f"at({due:%Y-%m-%dT%H:%M:%S})", schedule_name="Once, now")
        once.MergeFrom(wanted)
        request = CreateScheduleRequest(parent=PARENT, schedule=once, schedule_id=ONCE)
        try:
            made = ScheduleServiceStub(channel).CreateSchedule(request)
        except CallRefused as refused:
            if refused.code is not grpc.StatusCode.INVALID_ARGUMENT or seconds == _SOON_SECONDS[-1]:
                raise
        else:
            _say("fires", f"{made.name} at {due:%H:%M:%S} UTC")
            return due
    raise StoryFailed("no moment was left to scan at")


def _ended(channel: grpc.Channel) -> Execution:
    """Wait until the execution is over."""
    request = ListExecutionsRequest(parent=f"{PARENT}/schedules/{ONCE}")
    until = time.monotonic() + _SCAN_SECONDS
    while time.monotonic() < until:
        found = ExecutionServiceStub(channel).ListExecutions(request).executions
        if found and found[0].status not in _UNDER_WAY:
            return found[0]
        time.sleep(_PAUSE_SECONDS)
    raise StoryFailed(f"the scan of {ONCE} did not end within {_SCAN_SECONDS} s")


def _status(account: Account) -> str:
    return enum_word(account_pb2.AccountStatus.DESCRIPTOR, account.status)


def _outcome(check: onboarding.VerificationCheck) -> str:
    return enum_word(onboarding.CheckOutcome.DESCRIPTOR, check.outcome)


def _say(what: str, text: str) -> None:
    talk.print(Text(f"  {what:<17}{visible(text)}"), soft_wrap=True)
