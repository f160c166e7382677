"""What an attacker would try with the rights of each process: all of it is denied.

Every attack stands beside what it is a change of, which is allowed: so that it is denied for
what is wrong with it and not for a name misspelt here.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.tenancy.credentials.versions import stage_of
from services.tenancy.policy.calls import Account, Call, requests_of
from services.tenancy.policy.document import Request
from services.tenancy.policy.patterns import Context
from tests.tenancy_templates import POLICIES, policy

ROLE = "arn:aws:iam::444455556666:role/secmesh-scan"
OWN_ROLE = "arn:aws:iam::111122223333:role/OrganizationAccountAccessRole"
ACME: Context = {"aws:principaltag/tenant_id": ("acme",)}
KEY = "alias/threat-engine-secrets"
ACCOUNT = Account(
    secret_tags={
        "threat-engine/account/a1": {"tenant_id": "acme"},
        "threat-engine/account/u1": {"tenant_id": "umbrella"},
        "payroll/database": {"tenant_id": "acme"},
    }
)


@dataclass(frozen=True)
class Attempt:
    """A call by the rights of a process."""

    by: str
    why: str
    call: Call
    who: Context = field(default_factory=dict)

    def requests(self) -> list[Request]:
        return [each.also(self.who) for each in requests_of(self.call, ACCOUNT)]

    def is_allowed(self) -> bool:
        rights = policy(self.by)
        return all(rights.allows(each) for each in self.requests())


def item(table: str, pk: str) -> dict[str, Any]:
    return {"TableName": f"threat-engine-{table}", "Key": {"pk": {"S": pk}, "sk": {"S": "x"}}}


def get(table: str, pk: str) -> Call:
    return Call("dynamodb", "GetItem", item(table, pk))


def write(operation: str, table: str, pk: str) -> Call:
    given = item(table, pk)
    return Call("dynamodb", operation, {**given, "Item": given["Key"]})


def query(table: str, pk: str, index: str = "") -> Call:
    names = {"TableName": f"threat-engine-{table}"} | ({"IndexName": index} if index else {})
    values = {":v": {"S": pk}}
    expression = {"KeyConditionExpression": "#k = :v", "ExpressionAttributeValues": values}
    return Call("dynamodb", "Query", names | expression)


def batch(*keys: str) -> Call:
    listed = [item("accounts", pk)["Key"] for pk in keys]
    return Call(
        "dynamodb", "BatchGetItem", {"RequestItems": {"threat-engine-accounts": {"Keys": listed}}}
    )


def transaction(*keys: str) -> Call:
    actions = [{"Update": item("accounts", pk)} for pk in keys]
    return Call("dynamodb", "TransactWriteItems", {"TransactItems": actions})


def secret(operation: str, name: str = "threat-engine/account/a1", **given: Any) -> Call:
    place = {"Name": name} if operation == "CreateSecret" else {"SecretId": name}
    return Call("secretsmanager", operation, {**place, **given})


def read(name: str) -> Call:
    return secret("GetSecretValue", name, VersionStage="AWSCURRENT")


def make(**given: Any) -> Call:
    return secret("CreateSecret", "threat-engine/account/new", **given)


def tags(tenant: str) -> list[dict[str, str]]:
    return [{"Key": "tenant_id", "Value": tenant}]


def assume(role: str, **given: Any) -> Call:
    return Call("sts", "AssumeRole", {"RoleArn": role, **given})


READ_OWN = secret("GetSecretValue", VersionStage="AWSCURRENT")
MAKE_OWN = make(Tags=tags("acme"), KmsKeyId=KEY)
DELETE_OWN = secret("DeleteSecret", RecoveryWindowInDays=30)
SCAN = Call("dynamodb", "Scan", {"TableName": "threat-engine-accounts"})
DROP = Call("dynamodb", "DeleteTable", {"TableName": "threat-engine-accounts"})
UMBRELLA_S = "threat-engine/account/u1"

RIGHTFUL = [
    Attempt("tenant", "reads an account", get("accounts", "acme"), ACME),
    Attempt(
        "tenant", "lists its executions", query("executions", "acme#202611", "by-tenant"), ACME
    ),
    Attempt("tenant", "reads accounts together", batch("acme", "acme#x"), ACME),
    Attempt("tenant", "writes accounts together", transaction("acme", "acme#x"), ACME),
    Attempt("tenant", "reads its secret", READ_OWN, ACME),
    Attempt("tenant", "makes its secret", MAKE_OWN, ACME),
    Attempt("tenant", "deletes its secret", DELETE_OWN, ACME),
    Attempt("serve", "reads a secret", READ_OWN),
    # Versions are read by stages of their own (credentials/versions.py).
    Attempt("serve", "reads a version", secret("GetSecretValue", VersionStage=stage_of(12))),
    Attempt("tenant", "reads a version", secret("GetSecretValue", VersionStage=stage_of(12)), ACME),
    Attempt("serve", "makes a secret", MAKE_OWN),
    Attempt("serve", "deletes a secret", DELETE_OWN),
    Attempt("serve", "enters an account", assume(ROLE, ExternalId="e", Tags=tags("acme"))),
    # So that verification can prove that the account refuses it.
    Attempt("serve", "knocks without an external id", assume(ROLE)),
    Attempt("scheduler", "looks for what is due", query("schedules", "D#03", "due")),
    Attempt("scheduler", "makes an execution", write("PutItem", "executions", "acme#s1")),
    Attempt("executor", "looks for work", query("executions", "L#03", "lease")),
    Attempt("executor", "publishes a result", write("PutItem", "scan-results", "acme#a1")),
]

ATTACKS = [
    # Another tenant's items.
    Attempt("tenant", "another's account", get("accounts", "umbrella"), ACME),
    Attempt("tenant", "one whose id begins like its own", get("accounts", "acme-labs"), ACME),
    Attempt("tenant", "a partition of one alike", get("executions", "acme2#s1"), ACME),
    Attempt("tenant", "one of another among its own", batch("acme", "umbrella"), ACME),
    Attempt("tenant", "one write of another's in its own", transaction("acme", "umbrella"), ACME),
    Attempt("tenant", "all by a scan, which names no key", SCAN, ACME),
    Attempt("tenant", "the platform's view of schedules", query("schedules", "D#03", "due"), ACME),
    Attempt("tenant", "all tenants", query("tenants", "ACTIVE", "by-status"), ACME),
    Attempt("tenant", "accounts by id alone", query("accounts", "acme", "by-id"), ACME),
    Attempt("tenant", "another's month", query("executions", "umbrella#1", "by-tenant"), ACME),
    Attempt("tenant", "its own without a tag", get("accounts", "acme")),
    Attempt(
        "tenant",
        "all by a tag of a star",
        get("accounts", "acme"),
        {**ACME, "aws:principaltag/tenant_id": ("*",)},
    ),
    Attempt("tenant", "a name of tenants", get("tenants", "#name#umbrella"), ACME),
    Attempt("tenant", "the table itself", DROP, ACME),
    Attempt("tenant", "an account of ours", assume(ROLE), ACME),
    # Another tenant's secrets.
    Attempt("tenant", "another's secret", read(UMBRELLA_S), ACME),
    Attempt(
        "tenant",
        "a secret in its name for another",
        make(Tags=tags("umbrella"), KmsKeyId=KEY),
        ACME,
    ),
    Attempt("tenant", "a secret under AWS's own key", make(Tags=tags("acme")), ACME),
    Attempt(
        "tenant",
        "another's secret, tagged over",
        secret("TagResource", UMBRELLA_S, Tags=tags("acme")),
        ACME,
    ),
    Attempt(
        "tenant",
        "another's secret, deleted",
        secret("DeleteSecret", UMBRELLA_S, RecoveryWindowInDays=30),
        ACME,
    ),
    Attempt(
        "tenant",
        "another's secret, moved back",
        secret("UpdateSecretVersionStage", UMBRELLA_S, VersionStage="AWSCURRENT"),
        ACME,
    ),
    Attempt("tenant", "a secret that is not ours", read("payroll/database"), ACME),
    # What the service itself may not.
    Attempt("serve", "all accounts by a scan", SCAN),
    Attempt("serve", "a table, dropped", DROP),
    Attempt(
        "serve",
        "a table of others",
        Call("dynamodb", "GetItem", {**item("accounts", "a"), "TableName": "payroll"}),
    ),
    Attempt("serve", "the work of executors", query("executions", "L#03", "lease")),
    Attempt("serve", "a role of our own account", assume(OWN_ROLE, ExternalId="e")),
    Attempt("serve", "a secret without a stage", secret("GetSecretValue")),
    Attempt(
        "serve", "a version by a stage of no meaning", secret("GetSecretValue", VersionStage="x")
    ),
    Attempt("serve", "a secret without an owner", make(KmsKeyId=KEY)),
    Attempt("serve", "a secret that nobody owns", read("threat-engine/account/new")),
    Attempt(
        "serve",
        "a secret given to another tenant",
        secret("TagResource", UMBRELLA_S, Tags=tags("acme")),
    ),
    Attempt("serve", "a secret with its owner taken off", secret("UntagResource")),
    Attempt("serve", "a secret opened to others", secret("PutResourcePolicy")),
    Attempt("serve", "a secret copied to where we do not look", secret("ReplicateSecretToRegions")),
    Attempt(
        "serve", "a secret gone at once", secret("DeleteSecret", ForceDeleteWithoutRecovery=True)
    ),
    Attempt("serve", "a secret gone in no time", secret("DeleteSecret", RecoveryWindowInDays=6)),
    Attempt("serve", "secrets of others in this account", read("payroll/database")),
    Attempt("serve", "a key, put out of use", Call("kms", "ScheduleKeyDeletion", {"KeyId": KEY})),
    Attempt(
        "serve", "a secret's bytes, past Secrets Manager", Call("kms", "Decrypt", {"KeyId": KEY})
    ),
    # What workers may not.
    Attempt("scheduler", "a secret", READ_OWN),
    Attempt("scheduler", "an account", get("accounts", "acme")),
    Attempt("scheduler", "a role", assume(ROLE, ExternalId="e")),
    Attempt(
        "scheduler", "a tenant's view of schedules", query("schedules", "acme#a1", "by-account")
    ),
    Attempt("scheduler", "a schedule, dropped", write("DeleteItem", "schedules", "acme")),
    Attempt("scheduler", "a result", write("PutItem", "scan-results", "acme#a1")),
    Attempt("executor", "a secret", READ_OWN),
    Attempt("executor", "a role", assume(ROLE, ExternalId="e")),
    Attempt("executor", "an account, changed", write("UpdateItem", "accounts", "acme")),
    Attempt("executor", "an execution, made up", write("PutItem", "executions", "acme#s1")),
    Attempt("executor", "a result, dropped", write("DeleteItem", "scan-results", "acme#a1")),
    Attempt("executor", "what is due", query("schedules", "D#03", "due")),
]


def named(attempt: Attempt) -> str:
    return f"{attempt.by}: {attempt.why}"


@pytest.mark.parametrize("attempt", RIGHTFUL, ids=named)
def test_what_is_rightful_is_allowed(attempt: Attempt) -> None:
    assert attempt.requests()
    assert attempt.is_allowed()


@pytest.mark.parametrize("attempt", ATTACKS, ids=named)
def test_attacks_are_denied(attempt: Attempt) -> None:
    assert attempt.requests()
    assert not attempt.is_allowed()


def test_every_process_is_attacked() -> None:
    assert {each.by for each in ATTACKS} >= {"serve", "scheduler", "executor", "tenant"}
    assert len(set(map(named, ATTACKS))) == len(ATTACKS)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    "action",
    [
        "iam:PassRole",
        "iam:CreateAccessKey",
        "kms:DisableKey",
        "kms:ScheduleKeyDeletion",
        "kms:PutKeyPolicy",
        "dynamodb:Scan",
        "dynamodb:PartiQLSelect",
        "dynamodb:DeleteTable",
        "dynamodb:ExportTableToPointInTime",
        "secretsmanager:PutResourcePolicy",
        "secretsmanager:BatchGetSecretValue",
        "sts:GetFederationToken",
        "s3:GetObject",
    ],
)
def test_no_process_may_ever(name: str, action: str) -> None:
    """Whatever the resource and whatever the tags."""
    known = {"aws:principaltag/tenant_id": ("acme",), "aws:resourcetag/tenant_id": ("acme",)}
    rights = policy(name)
    for resource in (
        ACCOUNT.arn("dynamodb", "table/threat-engine-accounts"),
        ACCOUNT.arn("secretsmanager", "secret:threat-engine/account/a1-AbCdEf"),
        ACCOUNT.arn("kms", "key/1"),
        ROLE,
    ):
        keyed = {"dynamodb:leadingkeys": ("acme",), "kms:resourcealiases": (KEY,), **known}
        assert not rights.allows(Request(action, resource, keyed))


def test_a_key_is_used_for_its_own_data_alone() -> None:
    """Through the service, in the encryption context of a secret of ours."""
    rights = policy("serve")
    good = next(
        each for each in Attempt("serve", "", READ_OWN).requests() if each.action == "kms:Decrypt"
    )
    assert rights.allows(good)
    for key, value in (
        ("kms:viaservice", "s3.eu-west-1.amazonaws.com"),
        ("kms:encryptioncontext:secretarn", ACCOUNT.arn("secretsmanager", "secret:payroll-AbCdEf")),
        ("kms:resourcealiases", "alias/payroll"),
    ):
        bad = replace(good, context={**good.context, key: (value,)})
        assert not rights.allows(bad), key
