"""What is asked of a security token service holds for the fake and for the embedded endpoint."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable

import boto3
import pytest
from botocore.exceptions import ClientError

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.credentials.aws_sts import AwsSecurityTokens
from services.tenancy.credentials.sts import (
    AssumptionDenied,
    AwsKeys,
    KeysRefused,
    Scope,
    SecurityTokens,
    TokensError,
    TokensRejected,
    TokensThrottled,
    TokensUnavailable,
)
from tests.unit.fake_sts import PLATFORM, FakeSecurityTokens, Role

REGION, ACCOUNT = "eu-west-3", "424242424242"
RIGHT, WRONG = "right-external-id", "wrong-external-id"
SCOPE = Scope(seconds=900, tags={"tenant_id": "acme"})
MakeRole = Callable[[str | None], str]


@pytest.fixture(params=["fake", "embedded"])
async def tokens(request: pytest.FixtureRequest, aws: AwsEndpoint) -> AsyncIterator[SecurityTokens]:
    made: SecurityTokens = (
        FakeSecurityTokens() if request.param == "fake" else AwsSecurityTokens(REGION, aws.url)
    )
    yield made
    await made.close()


@pytest.fixture
def make_role(tokens: SecurityTokens, aws: AwsEndpoint) -> MakeRole:
    """Makes a role of the account that asks for an external id, or for none."""

    def make(external_id: str | None) -> str:
        name = f"scan-{uuid.uuid4().hex}"
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        if isinstance(tokens, FakeSecurityTokens):
            tokens.add_role(Role(arn, external_id=external_id))
            return arn
        statement: dict[str, object] = {
            "Effect": "Allow",
            "Principal": {"AWS": PLATFORM},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
        if external_id is not None:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        client = boto3.client("sts", region_name=REGION, endpoint_url=aws.url)
        given = client.assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/setup", RoleSessionName="setup"
        )["Credentials"]
        iam = boto3.client(
            "iam",
            region_name=REGION,
            endpoint_url=aws.url,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)
        client.close()
        iam.close()
        return arn

    return make


async def test_a_role_is_assumed_by_its_external_id_alone(
    tokens: SecurityTokens, make_role: MakeRole
) -> None:
    role = make_role(RIGHT)
    begun = time.time_ns() // 1000
    made = await tokens.assume_role(role, session_name="scan", external_id=RIGHT, scope=SCOPE)
    assert made.keys.session_token
    assert abs(made.expires_at - begun - 900_000_000) < 60_000_000
    assert (await tokens.identity(made.keys)).account == ACCOUNT
    for other in (WRONG, None):
        with pytest.raises(AssumptionDenied):
            await tokens.assume_role(role, session_name="scan", external_id=other, scope=SCOPE)


async def test_a_role_without_external_id_is_assumed_with_any(
    tokens: SecurityTokens, make_role: MakeRole
) -> None:
    role = make_role(None)
    for given in (RIGHT, WRONG, None):
        await tokens.assume_role(role, session_name="scan", external_id=given, scope=SCOPE)


async def test_keys_are_never_shown(tokens: SecurityTokens, make_role: MakeRole) -> None:
    made = await tokens.assume_role(
        make_role(RIGHT), session_name="scan", external_id=RIGHT, scope=SCOPE
    )
    assert made.keys.secret_access_key not in repr(made)
    assert made.keys.session_token not in repr(made)


async def test_the_fake_knows_dead_keys_ends_and_who_may_tag() -> None:
    now = 0
    fake = FakeSecurityTokens(now=lambda: now)
    user = fake.add_user(f"arn:aws:iam::{ACCOUNT}:user/scanner")
    made = await fake.federate(user, session_name="scan", scope=SCOPE)
    assert (await fake.identity(made.keys)).account == ACCOUNT
    now = 900_000_000
    for dead in (made.keys, AwsKeys(user.access_key_id, "wrong")):
        with pytest.raises(KeysRefused):
            await fake.identity(dead)
    fake.disable(user.access_key_id)
    with pytest.raises(KeysRefused):
        await fake.federate(user, session_name="scan", scope=SCOPE)
    fake.add_role(Role("arn:aws:iam::1:role/untagged", tagged=False))
    with pytest.raises(AssumptionDenied):
        await fake.assume_role(
            "arn:aws:iam::1:role/untagged", session_name="scan", external_id=None, scope=SCOPE
        )
    with pytest.raises(TokensRejected):
        await fake.assume_role(
            "any", session_name="scan", external_id=None, scope=Scope(seconds=899)
        )


async def test_all_of_a_scope_travels(aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    made = AwsSecurityTokens(REGION, aws.url)
    sent: dict[str, object] = {}
    call = made._own.assume_role

    def spied(**arguments: object) -> object:
        sent.update(arguments)
        return call(**arguments)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(made._own, "assume_role", spied)
    scope = Scope(1800, '{"Version":"2012-10-17"}', ["arn:aws:iam::aws:policy/X"], {"b": "2"})
    await made.assume_role(
        "arn:aws:iam::1:role/r", session_name="who", external_id=RIGHT, scope=scope
    )
    assert sent == {
        "RoleArn": "arn:aws:iam::1:role/r",
        "RoleSessionName": "who",
        "ExternalId": RIGHT,
        "DurationSeconds": 1800,
        "Policy": '{"Version":"2012-10-17"}',
        "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/X"}],
        "Tags": [{"Key": "b", "Value": "2"}],
    }
    await made.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDenied", AssumptionDenied),
        ("InvalidClientTokenId", KeysRefused),
        ("ExpiredToken", KeysRefused),
        ("PackedPolicyTooLarge", TokensRejected),
        ("Throttling", TokensThrottled),
        ("InternalFailure", TokensUnavailable),
    ],
)
async def test_what_sts_answers_is_told_apart_without_its_words(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, code: str, error: type[TokensError]
) -> None:
    made = AwsSecurityTokens(REGION, aws.url)

    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "hunter2"}}, "AssumeRole")

    monkeypatch.setattr(made._own, "assume_role", fail)
    with pytest.raises(TokensError) as caught:
        await made.assume_role("any", session_name="scan", external_id=None, scope=SCOPE)
    assert (caught.type, str(caught.value)) == (error, code)
    await made.close()
