"""The keys of secrets and tables, set up on the AWS endpoint of this machine."""

import argparse
from collections.abc import Iterator
from uuid import uuid4

import boto3
import pytest
from botocore.stub import Stubber
from mypy_boto3_kms import KMSClient

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.server.program import CommandFailed
from services.tenancy.kms_command import SETUP_KMS
from services.tenancy.kms_setup import ROTATION_DAYS, KeySetup, KeysFailed, WantedKey
from services.tenancy.settings import TenancySettings

REGION = "eu-south-2"


@pytest.fixture
def kms(aws: AwsEndpoint, faults: Faults) -> Iterator[KMSClient]:
    client = boto3.client("kms", region_name=REGION, endpoint_url=aws.url)
    yield client
    client.close()


def named() -> str:
    return f"alias/test-{uuid4().hex}"


def settings_of(aws: AwsEndpoint, secrets: str, tables: str) -> TenancySettings:
    return TenancySettings(
        aws_region=REGION,
        aws_endpoint_url=aws.url,
        secrets_kms_key=secrets,
        tables_kms_key=tables,
    )


async def test_the_command_makes_what_is_missing_and_keeps_it(
    aws: AwsEndpoint, kms: KMSClient, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets, tables = named(), named()
    settings = settings_of(aws, secrets, tables)
    await SETUP_KMS.run(settings, argparse.Namespace())
    assert capsys.readouterr().out == (
        f"made {secrets}: rotates every 365 days\nmade {tables}: rotates every 365 days\n"
    )
    before = [kms.describe_key(KeyId=each)["KeyMetadata"]["KeyId"] for each in (secrets, tables)]
    assert len(set(before)) == 2
    await SETUP_KMS.run(settings, argparse.Namespace())
    assert capsys.readouterr().out.count("kept") == 2
    after = [kms.describe_key(KeyId=each)["KeyMetadata"]["KeyId"] for each in (secrets, tables)]
    assert after == before
    for key in before:
        assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True


async def test_tables_under_a_key_of_aws_need_none(aws: AwsEndpoint, kms: KMSClient) -> None:
    before = len(kms.list_keys()["Keys"])
    await SETUP_KMS.run(settings_of(aws, named(), ""), argparse.Namespace())
    assert len(kms.list_keys()["Keys"]) == before + 1


def test_a_key_that_is_there_is_made_to_rotate(kms: KMSClient) -> None:
    key, alias = kms.create_key()["KeyMetadata"]["KeyId"], named()
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    for wanted in (alias, key):
        (done,) = KeySetup(kms).run([WantedKey(wanted, "test")])
        assert (done.key_id, done.made, done.renewed) == (key, False, wanted == alias)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True


@pytest.mark.parametrize("days", [90, ROTATION_DAYS])
def test_a_key_that_rotates_otherwise_is_made_to_rotate_yearly(kms: KMSClient, days: int) -> None:
    """By answers as AWS gives them: moto says nothing of the period."""
    key = str(uuid4())
    facts = {"KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS"}
    status = {"KeyRotationEnabled": True, "RotationPeriodInDays": days}
    with Stubber(kms) as answers:
        answers.add_response("describe_key", {"KeyMetadata": {"KeyId": key, **facts}})
        answers.add_response("get_key_rotation_status", status)
        if days != ROTATION_DAYS:
            wanted = {"KeyId": key, "RotationPeriodInDays": ROTATION_DAYS}
            answers.add_response("enable_key_rotation", {}, wanted)
        (done,) = KeySetup(kms).run([WantedKey(key, "test")])
        answers.assert_no_pending_responses()
    assert done.renewed is (days != ROTATION_DAYS)


def test_a_key_on_its_way_out_is_not_taken(kms: KMSClient) -> None:
    key, alias = kms.create_key()["KeyMetadata"]["KeyId"], named()
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    kms.schedule_key_deletion(KeyId=key)
    with pytest.raises(KeysFailed, match="leads to a key that is PendingDeletion"):
        KeySetup(kms).run([WantedKey(alias, "test")])


def test_a_key_pair_is_not_taken(kms: KMSClient) -> None:
    key, alias = kms.create_key(KeySpec="RSA_2048")["KeyMetadata"]["KeyId"], named()
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    with pytest.raises(KeysFailed, match="cannot rotate"):
        KeySetup(kms).run([WantedKey(alias, "test")])


def test_an_id_of_no_key_makes_none(kms: KMSClient) -> None:
    before = len(kms.list_keys()["Keys"])
    with pytest.raises(KeysFailed, match="does not exist"):
        KeySetup(kms).run([WantedKey(str(uuid4()), "test")])
    assert len(kms.list_keys()["Keys"]) == before


async def test_a_refusal_ends_the_command_with_its_code(
    aws: AwsEndpoint, kms: KMSClient, faults: Faults
) -> None:
    faults.deny("kms:CreateKey")
    with pytest.raises(CommandFailed, match="AccessDenied"):
        await SETUP_KMS.run(settings_of(aws, named(), named()), argparse.Namespace())


def test_an_alias_that_another_run_took_meanwhile_is_told(kms: KMSClient) -> None:
    alias, key = named(), str(uuid4())
    with Stubber(kms) as answers:
        answers.add_client_error("describe_key", "NotFoundException")
        answers.add_response("create_key", {"KeyMetadata": {"KeyId": key}})
        answers.add_response("get_key_rotation_status", {"KeyRotationEnabled": True})
        answers.add_client_error("create_alias", "AlreadyExistsException")
        with pytest.raises(KeysFailed, match=f"key {key} has no use"):
            KeySetup(kms).run([WantedKey(alias, "test")])
