"""Tables made and compared on the AWS endpoint of this machine."""

import argparse
from typing import Any

import boto3
import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.server.program import CommandFailed
from services.tenancy.settings import TenancySettings
from services.tenancy.store.create import Tables, TablesFailed
from services.tenancy.store.dynamodb_client import dynamodb_client
from services.tenancy.store.table_shapes import StepKind
from services.tenancy.store.tables import EXPIRES_AT, Table
from services.tenancy.tables_command import CREATE_TABLES, PLAN
from tests.service.tenancy_stores import table_names

REGION = "eu-central-2"
KEY = "alias/test"
NOTHING = argparse.Namespace()


@pytest.fixture
def client(aws: AwsEndpoint, faults: Faults) -> Any:
    return dynamodb_client(REGION, aws.url)


def settings_of(aws: AwsEndpoint, names: dict[Table, str]) -> TenancySettings:
    given: dict[str, Any] = {f"{table.name.lower()}_table": names[table] for table in Table}
    return TenancySettings(aws_region=REGION, aws_endpoint_url=aws.url, **given)


def test_all_is_made_once(client: Any) -> None:
    tables = Tables(client, table_names(), kms_key=KEY)
    made = tables.create()
    assert made.refused == []
    assert [step.table for step in made.done if step.kind is StepKind.CREATE] == list(Table)
    assert tables.plan() == []
    assert tables.create().done == []


def test_each_table_is_what_its_data_say(client: Any) -> None:
    names = table_names()
    Tables(client, names, kms_key=KEY).create()
    for table in Table:
        name = names[table]
        told = client.describe_table(TableName=name)["Table"]
        assert told["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert told["DeletionProtectionEnabled"] is True
        assert told["SSEDescription"]["SSEType"] == "KMS"
        assert [key["AttributeName"] for key in told["KeySchema"]] == ["pk", "sk"]
        indexes = {each["IndexName"]: each for each in told.get("GlobalSecondaryIndexes", ())}
        assert indexes.keys() == table.indexes.keys()
        for index in table.indexes.values():
            keys = [key["AttributeName"] for key in indexes[index.name]["KeySchema"]]
            assert tuple(keys) == index.keys
            projection = indexes[index.name]["Projection"]
            assert projection["ProjectionType"] == index.projection.value
            assert tuple(projection.get("NonKeyAttributes", ())) == index.included
        ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert ttl == {"AttributeName": EXPIRES_AT, "TimeToLiveStatus": "ENABLED"}
        backups = client.describe_continuous_backups(TableName=name)
        recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"


def test_what_is_missing_is_added(client: Any) -> None:
    names = table_names()
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    client.create_table(
        TableName=names[Table.SCHEDULES],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n, _ in keys],
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    tables = Tables(client, names, kms_key=KEY)
    planned = [step for step in tables.plan() if step.table is Table.SCHEDULES]
    assert [(step.kind, step.subject) for step in planned] == [
        (StepKind.ADD_INDEX, "by-account"),
        (StepKind.ADD_INDEX, "due"),
        (StepKind.BILL_ON_DEMAND, ""),
        (StepKind.ENCRYPT, KEY),
        (StepKind.PROTECT, ""),
        (StepKind.EXPIRE, EXPIRES_AT),
        (StepKind.RECOVER, ""),
    ]
    # Moto encrypts new tables alone; AWS takes the key of one that is there, too.
    made = Tables(client, names, kms_key=KEY, lenient=True).create()
    assert [step.kind for step in made.refused] == [StepKind.ENCRYPT]
    assert tables.plan() == made.refused


def test_a_table_with_other_keys_is_left_alone(client: Any) -> None:
    names = table_names()
    client.create_table(
        TableName=names[Table.TENANTS],
        KeySchema=[{"AttributeName": "tenant_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "tenant_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(TablesFailed, match="make a new table"):
        Tables(client, names, lenient=True).create()
    told = client.describe_table(TableName=names[Table.TENANTS])["Table"]
    assert told["KeySchema"] == [{"AttributeName": "tenant_id", "KeyType": "HASH"}]


def test_what_an_endpoint_refuses_is_listed(client: Any, faults: Faults) -> None:
    faults.deny("dynamodb:UpdateContinuousBackups", "dynamodb:DescribeContinuousBackups")
    made = Tables(client, table_names(), lenient=True).create()
    assert {(step.table, step.kind) for step in made.refused} == {
        (table, StepKind.RECOVER) for table in Table
    }


def test_what_aws_refuses_is_an_error(client: Any, faults: Faults) -> None:
    faults.deny("dynamodb:UpdateContinuousBackups")
    with pytest.raises(TablesFailed, match=r"keep it recoverable .*AccessDeniedException"):
        Tables(client, table_names()).create()


def test_a_refused_table_is_an_error_everywhere(client: Any, faults: Faults) -> None:
    faults.deny("dynamodb:CreateTable")
    with pytest.raises(TablesFailed, match=r"create the table: AccessDeniedException"):
        Tables(client, table_names(), lenient=True).create()


async def test_the_commands(
    aws: AwsEndpoint, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    names = table_names()
    settings = settings_of(aws, names)
    await PLAN.run(settings, NOTHING)
    assert "missing: tenants: create the table\n" in capsys.readouterr().out
    listed = boto3.client("dynamodb", REGION, endpoint_url=aws.url).list_tables()["TableNames"]
    assert names[Table.TENANTS] not in listed
    await CREATE_TABLES.run(settings, NOTHING)
    assert "done: scan-results: create the table\n" in capsys.readouterr().out
    for command in (CREATE_TABLES, PLAN):
        await command.run(settings, NOTHING)
        assert capsys.readouterr().out == "the tables are as they are to be\n"
    faults.deny("dynamodb:DescribeTable")
    with pytest.raises(CommandFailed, match="AccessDeniedException"):
        await PLAN.run(settings, NOTHING)
