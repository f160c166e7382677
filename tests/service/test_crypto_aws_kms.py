"""The wiring of AWS KMS: calls, contexts, errors; what moto ignores is shown by the fake KMS."""

import os
from collections.abc import AsyncIterator

import boto3
import pytest
from botocore.exceptions import ClientError

from mesh.embedded.aws import AwsEndpoint
from services.crypto.custody.aws_kms import AwsKms
from services.crypto.custody.kms import (
    KmsDenied,
    KmsDisabled,
    KmsError,
    KmsKeyState,
    KmsRejected,
    KmsThrottled,
    KmsUnavailable,
)

REGION = "eu-central-1"
"""One that no test of the sample account collects: moto keeps the keys."""
HERE = {"tenant": "acme", "use": "tenant-key"}


@pytest.fixture
async def kms(aws: AwsEndpoint) -> AsyncIterator[AwsKms]:
    made = AwsKms(REGION, aws.url)
    yield made
    await made.close()


@pytest.fixture
def arns(aws: AwsEndpoint) -> list[str]:
    client = boto3.client("kms", region_name=REGION, endpoint_url=aws.url)
    made = [client.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
    client.close()
    return made


async def test_a_key_is_made_and_unwrapped_in_its_context_alone(
    kms: AwsKms, arns: list[str]
) -> None:
    made = await kms.generate(arns[0], HERE)
    assert made.key_id == arns[0]
    assert len(made.plaintext) == 32
    assert await kms.decrypt(arns[0], made.wrapped, HERE) == made.plaintext
    with pytest.raises(KmsRejected):
        await kms.decrypt(arns[0], made.wrapped, {**HERE, "tenant": "other"})
    # moto answers another key with AccessDeniedException, AWS with IncorrectKeyException.
    with pytest.raises((KmsDenied, KmsRejected)):
        await kms.decrypt(arns[1], made.wrapped, HERE)


async def test_a_wrapped_key_moves_to_another_key(kms: AwsKms, arns: list[str]) -> None:
    wrapped = await kms.encrypt(arns[0], b"secret", HERE)
    moved = await kms.re_encrypt(arns[0], wrapped, HERE, arns[1])
    assert await kms.decrypt(arns[1], moved, HERE) == b"secret"
    with pytest.raises((KmsDenied, KmsRejected)):
        await kms.decrypt(arns[0], moved, HERE)


async def test_a_key_is_described(kms: AwsKms, arns: list[str], aws: AwsEndpoint) -> None:
    found = await kms.describe(arns[0].rpartition("/")[2])
    assert (found.key_id, found.state) == (arns[0], KmsKeyState.ENABLED)
    assert found.principal == f"aws:{arns[0].split(':')[4]}"
    client = boto3.client("kms", region_name=REGION, endpoint_url=aws.url)
    client.disable_key(KeyId=arns[0].rpartition("/")[2])
    assert (await kms.describe(arns[0])).state is KmsKeyState.DISABLED
    client.schedule_key_deletion(KeyId=arns[1].rpartition("/")[2])
    assert (await kms.describe(arns[1])).state is KmsKeyState.PENDING_DELETION
    client.close()
    with pytest.raises(KmsDisabled):
        await kms.describe(arns[0][:-1])


async def test_a_key_that_aws_renews_is_told_from_others(
    kms: AwsKms, arns: list[str], aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("kms", region_name=REGION, endpoint_url=aws.url)
    client.enable_key_rotation(KeyId=arns[0].rpartition("/")[2])
    client.close()
    assert await kms.renews(arns[0])
    assert not await kms.renews(arns[1])

    def deny(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "Get")

    monkeypatch.setattr(kms._client, "get_key_rotation_status", deny)
    assert not await kms.renews(arns[0])


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("DisabledException", KmsDisabled),
        ("KMSInvalidStateException", KmsDisabled),
        ("AccessDeniedException", KmsDenied),
        ("IncorrectKeyException", KmsRejected),
        ("ThrottlingException", KmsThrottled),
        ("KMSInternalException", KmsUnavailable),
        ("DependencyTimeoutException", KmsUnavailable),
        ("SomethingNew", KmsUnavailable),
    ],
)
async def test_what_aws_answers_is_told_apart(
    kms: AwsKms, monkeypatch: pytest.MonkeyPatch, code: str, error: type[KmsError]
) -> None:
    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "of AWS"}}, "Decrypt")

    monkeypatch.setattr(kms._client, "decrypt", fail)
    with pytest.raises(KmsError) as caught:
        await kms.decrypt("any", b"wrapped", HERE)
    assert caught.type is error
    assert str(caught.value) == code


async def test_an_endpoint_that_is_not_there_is_an_outage(aws: AwsEndpoint) -> None:
    kms = AwsKms(REGION, "http://127.0.0.1:1")
    assert os.environ["AWS_ACCESS_KEY_ID"]
    with pytest.raises(KmsUnavailable):
        await kms.describe("any")
    await kms.close()
