"""The tenancy service's templates say what its code and its policies say."""

import json
from typing import Any

import pytest

from services.tenancy.policy.document import Request, read_policy
from services.tenancy.settings import TenancySettings
from services.tenancy.store.table_shapes import RECOVERY_DAYS
from services.tenancy.store.tables import EXPIRES_AT, PK, SK, Index, Table
from tests.tenancy_templates import POLICIES, resolved, template

RESOURCES = resolved("tenancy.yaml")
ROLES = resolved("tenancy-roles.yaml")
TABLES = {
    each["Properties"]["TableName"]: each
    for each in RESOURCES.values()
    if each["Type"] == "AWS::DynamoDB::Table"
}
MAX_POLICY = 6_144
"""Characters of a managed policy, spaces not counted (IAM quotas)."""


def schema(pk: str, sk: str) -> list[dict[str, str]]:
    parts = [{"AttributeName": pk, "KeyType": "HASH"}, {"AttributeName": sk, "KeyType": "RANGE"}]
    return [part for part in parts if part["AttributeName"]]


def projection(index: Index) -> dict[str, Any]:
    included = {"NonKeyAttributes": list(index.included)} if index.included else {}
    return {"ProjectionType": index.projection.value, **included}


def test_there_are_the_six_tables() -> None:
    assert set(TABLES) == {table.default_name for table in Table}


@pytest.mark.parametrize("table", Table, ids=lambda table: table.value)
def test_keys_and_indexes_are_those_of_the_code(table: Table) -> None:
    facts = TABLES[table.default_name]["Properties"]
    assert facts["KeySchema"] == schema(PK, SK)
    wanted = {
        index.name: (schema(index.pk, index.sk), projection(index))
        for index in table.indexes.values()
    }
    found = {
        each["IndexName"]: (each["KeySchema"], each["Projection"])
        for each in facts.get("GlobalSecondaryIndexes", ())
    }
    assert found == wanted
    used = [PK, SK, *(key for index in table.indexes.values() for key in index.keys)]
    types = {each["AttributeName"]: each["AttributeType"] for each in facts["AttributeDefinitions"]}
    assert types == dict.fromkeys(used, "S")


@pytest.mark.parametrize("table", Table, ids=lambda table: table.value)
def test_tables_are_kept_and_can_be_restored(table: Table) -> None:
    whole = TABLES[table.default_name]
    facts = whole["Properties"]
    assert (whole["DeletionPolicy"], whole["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert facts["BillingMode"] == "PAY_PER_REQUEST"
    assert facts["DeletionProtectionEnabled"] == "true"
    recovery = facts["PointInTimeRecoverySpecification"]
    assert recovery["PointInTimeRecoveryEnabled"] is True
    assert recovery["RecoveryPeriodInDays"] == "35"
    assert facts["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": "TablesKey.Arn",
    }
    assert facts["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}


@pytest.mark.parametrize(
    ("key", "alias"),
    [("TablesKey", "alias/threat-engine-tables"), ("SecretsKey", "alias/threat-engine-secrets")],
)
def test_keys_rotate_each_year(key: str, alias: str) -> None:
    facts = RESOURCES[key]["Properties"]
    assert (facts["EnableKeyRotation"], facts["RotationPeriodInDays"]) == (True, 365)
    assert RESOURCES[key]["DeletionPolicy"] == "Retain"
    named = RESOURCES[f"{key}Alias"]["Properties"]
    assert named == {"AliasName": alias, "TargetKeyId": key}


@pytest.mark.parametrize("name", POLICIES)
def test_policies_of_the_template_are_the_files(name: str) -> None:
    document = ROLES[f"{name.capitalize()}Policy"]["Properties"]["PolicyDocument"]
    assert document == json.loads(POLICIES[name].read_text())


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_short_enough_in_the_longest_region(name: str) -> None:
    given = {"AWS::Region": "ap-southeast-4", "AWS::AccountId": "111122223333"}
    roles = resolved("tenancy-roles.yaml", **given)
    document = roles[f"{name.capitalize()}Policy"]["Properties"]["PolicyDocument"]
    assert len(json.dumps(document, separators=(",", ":"))) <= MAX_POLICY


@pytest.mark.parametrize("name", POLICIES)
def test_other_prefixes_change_every_name(name: str) -> None:
    given = {"TablePrefix": "acme-prod", "SecretsPrefix": "acme/prod"}
    roles = resolved("tenancy-roles.yaml", **given)
    document = roles[f"{name.capitalize()}Policy"]["Properties"]["PolicyDocument"]
    text = POLICIES[name].read_text()
    for plain, changed in (
        ("table/threat-engine-", "table/acme-prod-"),
        ("secret:threat-engine/", "secret:acme/prod/"),
        ("alias/threat-engine-", "alias/acme-prod-"),
        ('"threat-engine-', '"acme-prod-'),
    ):
        text = text.replace(plain, changed)
    assert document == json.loads(text)


def test_policies_of_other_prefixes_reach_their_own_alone() -> None:
    given = {"TablePrefix": "acme-prod", "SecretsPrefix": "acme/prod"}
    roles = resolved("tenancy-roles.yaml", **given)
    rights = read_policy(json.dumps(roles["ServePolicy"]["Properties"]["PolicyDocument"]))
    for prefix, allowed in (("acme-prod", True), ("threat-engine", False)):
        item = Request(
            "dynamodb:GetItem",
            f"arn:aws:dynamodb:eu-west-1:111122223333:table/{prefix}-accounts",
            {"dynamodb:leadingkeys": ("acme",)},
        )
        assert rights.allows(item) is allowed
    for prefix, allowed in (("acme/prod", True), ("threat-engine", False)):
        secret = Request(
            "secretsmanager:GetSecretValue",
            f"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{prefix}/account/a1-AbCdEf",
            {"aws:resourcetag/tenant_id": ("acme",), "secretsmanager:versionstage": ("v1",)},
        )
        assert rights.allows(secret) is allowed


def test_defaults_of_the_templates_are_those_of_the_settings() -> None:
    fields = TenancySettings.model_fields
    aliases = {
        key: RESOURCES[f"{key}KeyAlias"]["Properties"]["AliasName"] for key in ("Tables", "Secrets")
    }
    assert aliases == {
        "Tables": fields["tables_kms_key"].default,
        "Secrets": fields["secrets_kms_key"].default,
    }
    prefix = template("tenancy-roles.yaml")["Parameters"]["SecretsPrefix"]
    assert prefix["Default"] == fields["secrets_prefix"].default
    patterns = [each.pattern for each in fields["secrets_prefix"].metadata]
    assert f"^{prefix['AllowedPattern']}$" in patterns
    recovery = template("tenancy.yaml")["Parameters"]["RecoveryDays"]
    assert recovery["Default"] == recovery["MaxValue"] == RECOVERY_DAYS


def test_every_policy_has_a_file_and_every_process_a_role() -> None:
    kinds = {name: each["Type"] for name, each in ROLES.items()}
    policies = {name for name, kind in kinds.items() if kind == "AWS::IAM::ManagedPolicy"}
    assert policies == {f"{name.capitalize()}Policy" for name in POLICIES}
    roles = {name for name, kind in kinds.items() if kind == "AWS::IAM::Role"}
    assert roles == {"ServeRole", "SchedulerRole", "ExecutorRole"}
    for name in roles:
        assert ROLES[name]["Properties"]["ManagedPolicyArns"] == [name.replace("Role", "Policy")]
