"""App keys in Secrets Manager: read again in time, taken away at once, bridged for a while."""

import base64
from collections.abc import Iterator

import boto3
import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.errors import DependencyUnavailable
from mesh.identifiers import new_uuid
from services.crypto.custody.aws_app_keys import AwsSecretKeys
from services.crypto.custody.key_file import KeyFileError
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import FieldRule, inner_of_plaintext
from services.crypto.suite.header import Tier

REGION = "us-east-1"
SSN = FieldRule("ssn", 8, Tier.DOUBLE, Tier.DOUBLE, 48)
LINE = f"v1 enabled {base64.b64encode(b'a' * 32).decode()}\n"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Secret:
    """A secret of one test, as its owner changes it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=endpoint)
        made = self._client.create_secret(Name=new_uuid(), SecretString=LINE)
        self.arn: str = made["ARN"]

    def set(self, text: str) -> None:
        self._client.put_secret_value(SecretId=self.arn, SecretString=text)

    def remove(self) -> None:
        self._client.delete_secret(SecretId=self.arn, ForceDeleteWithoutRecovery=True)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def secret(aws: AwsEndpoint) -> Iterator[Secret]:
    made = Secret(aws.url)
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(secret: Secret, clock: Clock) -> Iterator[AwsSecretKeys]:
    made = AwsSecretKeys(secret.arn, REGION, secret.endpoint, clock)
    yield made
    made.close()


async def test_values_are_sealed_by_the_secrets_keys(source: AwsSecretKeys) -> None:
    custodian = LocalAppKeys(source)
    value = inner_of_plaintext(1, Subject("test", "acme", new_uuid(), "users"), SSN, b"1")
    (layer,) = await custodian.seal("acme", [value])
    assert await custodian.open("acme", [value._replace(body=layer)]) == [value.body]
    assert (await custodian.principal()).startswith("aws:1234")


def test_a_new_version_is_found_in_time(
    source: AwsSecretKeys, secret: Secret, clock: Clock
) -> None:
    assert source.keys().keys() == {"v1"}
    secret.set(LINE + LINE.replace("v1", "v2"))
    assert source.keys().keys() == {"v1"}
    clock.now = 61
    assert source.keys().keys() == {"v1", "v2"}


def test_a_secret_that_is_gone_serves_no_longer(
    source: AwsSecretKeys, secret: Secret, clock: Clock
) -> None:
    assert source.keys()
    secret.remove()
    clock.now = 61
    with pytest.raises(KeyFileError, match="ResourceNotFound"):
        source.keys()


def test_what_cannot_be_read_is_bridged_for_an_hour(
    source: AwsSecretKeys, clock: Clock, secret: Secret
) -> None:
    assert source.keys()
    secret.set("no keys at all")
    for clock.now in (61, 1000, 3599):
        assert source.keys().keys() == {"v1"}
    clock.now = 3601
    with pytest.raises(KeyFileError) as caught:
        source.keys()
    assert "no keys" not in str(caught.value)


async def test_an_endpoint_that_is_not_there_is_an_outage(secret: Secret) -> None:
    away = AwsSecretKeys(secret.arn, REGION, "http://127.0.0.1:1")
    with pytest.raises(DependencyUnavailable, match="app"):
        await LocalAppKeys(away).principal()
    away.close()
