"""The tenancy service's templates as stacks, made by the embedded CloudFormation."""

import json
from typing import Any

import boto3
import pytest

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.store.tables import PK, SK, Table
from tests.tenancy_templates import POLICIES, template

REGION = "ap-northeast-3"
NUMBER = "610000000061"
"""An account of its own: others list what theirs holds, roles in every region."""


@pytest.fixture(scope="module")
def account(aws: AwsEndpoint) -> boto3.Session:
    """Credentials of an empty account."""
    sts = boto3.client("sts", region_name=REGION, endpoint_url=aws.url)
    role = f"arn:aws:iam::{NUMBER}:role/administrator"
    keys = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    sts.close()
    return boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=REGION
    )


def made(aws: AwsEndpoint, account: boto3.Session, name: str, **given: str) -> None:
    """Create a stack of a template and see it whole, but for alarms and tags of keys."""
    text = template(f"{name}.yaml")
    text["Resources"] = {
        name: each
        for name, each in text["Resources"].items()
        if each["Type"] != "AWS::CloudWatch::Alarm"
    }
    for each in text["Resources"].values():
        if each["Type"] == "AWS::KMS::Key":
            del each["Properties"]["Tags"]
    client = account.client("cloudformation", endpoint_url=aws.url)
    client.create_stack(
        StackName=name,
        TemplateBody=json.dumps(text),
        Parameters=[{"ParameterKey": key, "ParameterValue": each} for key, each in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    client.close()
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_the_stack_has_the_tables_and_keys(aws: AwsEndpoint, account: boto3.Session) -> None:
    """Moto leaves out recovery, encryption and times to live: the unit tests look at those."""
    made(aws, account, "tenancy", TablePrefix="stacked")
    client: Any = account.client("dynamodb", endpoint_url=aws.url)
    for table in Table:
        found = client.describe_table(TableName=f"stacked-{table.value}")["Table"]
        assert [each["AttributeName"] for each in found["KeySchema"]] == [PK, SK]
        assert found["DeletionProtectionEnabled"] == "true"  # as the parameter, in moto
        assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        indexes = {
            each["IndexName"]: tuple(key["AttributeName"] for key in each["KeySchema"])
            for each in found.get("GlobalSecondaryIndexes", ())
        }
        assert indexes == {name: index.keys for name, index in table.indexes.items()}
    client.close()
    kms = account.client("kms", endpoint_url=aws.url)
    aliases = {each["AliasName"]: each.get("TargetKeyId") for each in kms.list_aliases()["Aliases"]}
    for alias in ("alias/stacked-tables", "alias/stacked-secrets"):
        # No more than this: moto keeps a stack's key policy in a form that its own calls fail on.
        assert aliases[alias] in {each["KeyId"] for each in kms.list_keys()["Keys"]}
    kms.close()


def test_the_stack_has_a_role_for_each_process(aws: AwsEndpoint, account: boto3.Session) -> None:
    made(aws, account, "tenancy-roles", TablePrefix="stacked")
    client: Any = account.client("iam", endpoint_url=aws.url)
    roles = client.list_roles()["Roles"]
    assert len(roles) == 3
    for role in roles:
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": NUMBER}
    made_here = client.list_policies(Scope="Local")["Policies"]
    client.close()
    assert len(made_here) == len(POLICIES)
