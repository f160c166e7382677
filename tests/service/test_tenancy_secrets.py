"""What is asked of a store of secrets holds for the fake and for Secrets Manager as moto has it."""

import time
import uuid
from collections.abc import AsyncIterator

import pytest
from botocore.exceptions import ClientError

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.credentials.aws_secrets import AwsSecrets
from services.tenancy.credentials.secrets import (
    MAX_BYTES,
    SecretExists,
    SecretMissing,
    SecretPendingDeletion,
    SecretRejected,
    Secrets,
    SecretsDenied,
    SecretsError,
    SecretsThrottled,
    SecretsUnavailable,
    SecretTooLarge,
    Stage,
)
from tests.unit.fake_secrets import FakeSecrets

REGION = "eu-west-3"
"""One that no test of the sample account collects."""
TAGS = {"tenant_id": "acme", "account_id": "a1"}
LIES_OF_MOTO = {
    "test_a_version_is_never_another": "writes another value under an id that is taken",
    "test_a_stage_is_moved_by_who_knows_where_it_is": "takes a stage away from whoever has it",
}


def version() -> str:
    return str(uuid.uuid4())


@pytest.fixture(params=["fake", "moto"])
async def secrets(request: pytest.FixtureRequest, aws: AwsEndpoint) -> AsyncIterator[Secrets]:
    if request.param == "moto" and (lie := LIES_OF_MOTO.get(request.function.__name__)):
        pytest.skip(f"moto {lie}")
    made: Secrets = FakeSecrets() if request.param == "fake" else AwsSecrets(REGION, "", aws.url)
    yield made
    await made.close()


@pytest.fixture
def name() -> str:
    return f"threat-engine/account/{uuid.uuid4()}"


@pytest.fixture
async def first(secrets: Secrets, name: str) -> str:
    """The version id of a secret that was made."""
    made = version()
    await secrets.create(name, "one", version_id=made, tags=TAGS)
    return made


async def test_a_secret_is_read_at_its_stage(secrets: Secrets, name: str, first: str) -> None:
    found = await secrets.get(name, Stage.CURRENT)
    assert (found.version_id, found.value) == (first, "one")
    assert "one" not in repr(found)
    with pytest.raises(SecretMissing):
        await secrets.get(name, Stage.PENDING)
    with pytest.raises(SecretMissing):
        await secrets.get(name + "x", Stage.CURRENT)


async def test_the_same_creation_twice_makes_one(secrets: Secrets, name: str, first: str) -> None:
    await secrets.create(name, "one", version_id=first, tags=TAGS)
    with pytest.raises(SecretExists):
        await secrets.create(name, "two", version_id=first, tags=TAGS)
    with pytest.raises(SecretExists):
        await secrets.create(name, "one", version_id=version(), tags=TAGS)
    assert (await secrets.get(name, Stage.CURRENT)).value == "one"


async def test_a_pending_version_changes_nothing_until_it_is_promoted(
    secrets: Secrets, name: str, first: str
) -> None:
    second = version()
    await secrets.put(name, "two", version_id=second, stages=[Stage.PENDING, "v2"])
    assert (await secrets.get(name, Stage.CURRENT)).value == "one"
    assert (await secrets.get(name, Stage.PENDING)).value == "two"
    await secrets.move(name, Stage.CURRENT, to=second, away=first)
    await secrets.move(name, Stage.PENDING, away=second)
    assert (await secrets.get(name, Stage.CURRENT)).value == "two"
    assert (await secrets.get(name, Stage.PREVIOUS)).value == "one"
    assert (await secrets.get(name, "v2")).value == "two"
    with pytest.raises(SecretMissing):
        await secrets.get(name, Stage.PENDING)
    await secrets.move(name, Stage.CURRENT, to=first, away=second)
    assert (await secrets.get(name, Stage.CURRENT)).value == "one"
    assert (await secrets.get(name, Stage.PREVIOUS)).value == "two"


async def test_the_same_version_twice_is_one(secrets: Secrets, name: str, first: str) -> None:
    second = version()
    await secrets.put(name, "two", version_id=second, stages=[Stage.PENDING])
    await secrets.put(name, "two", version_id=second, stages=[Stage.PENDING])
    assert (await secrets.get(name, Stage.PENDING)).value == "two"
    assert (await secrets.get(name, Stage.CURRENT)).version_id == first


async def test_a_version_is_never_another(secrets: Secrets, name: str, first: str) -> None:
    with pytest.raises(SecretExists):
        await secrets.put(name, "other", version_id=first, stages=[Stage.PENDING])
    assert (await secrets.get(name, Stage.CURRENT)).value == "one"


async def test_a_secret_is_described_without_its_value(
    secrets: Secrets, name: str, first: str
) -> None:
    begun = time.time_ns() // 1000
    second = version()
    await secrets.put(name, "two", version_id=second, stages=[Stage.PENDING, "v2"])
    await secrets.move(name, "v1", to=first)
    facts = await secrets.describe(name)
    assert facts.tags == TAGS
    assert not facts.deleted
    staged = {each.version_id: each.stages for each in facts.versions}
    assert staged == {first: {Stage.CURRENT, "v1"}, second: {Stage.PENDING, "v2"}}
    # Times of Secrets Manager are those of its clock, to the second.
    assert all(abs(each.created_at - begun) < 60_000_000 for each in facts.versions)
    with pytest.raises(SecretMissing):
        await secrets.describe(name + "x")


async def test_a_stage_is_moved_by_who_knows_where_it_is(
    secrets: Secrets, name: str, first: str
) -> None:
    second, third = version(), version()
    await secrets.put(name, "two", version_id=second, stages=[Stage.CURRENT])
    await secrets.put(name, "three", version_id=third, stages=[Stage.PENDING])
    with pytest.raises(SecretRejected):
        await secrets.move(name, Stage.CURRENT, to=third, away=first)
    with pytest.raises(SecretRejected):
        await secrets.move(name, Stage.CURRENT, away=second)
    assert (await secrets.get(name, Stage.CURRENT)).value == "two"


async def test_a_deleted_secret_is_blocked_and_comes_back(
    secrets: Secrets, name: str, first: str
) -> None:
    await secrets.delete(name, days=30)
    with pytest.raises(SecretPendingDeletion):
        await secrets.get(name, Stage.CURRENT)
    with pytest.raises((SecretPendingDeletion, SecretExists)):
        await secrets.create(name, "other", version_id=version(), tags=TAGS)
    assert (await secrets.describe(name)).deleted
    await secrets.restore(name)
    assert (await secrets.get(name, Stage.CURRENT)).version_id == first
    await secrets.restore(name)
    with pytest.raises(SecretMissing):
        await secrets.restore(name + "x")
    with pytest.raises(SecretMissing):
        await secrets.delete(name + "x", days=30)


async def test_a_value_is_at_most_64_kib(secrets: Secrets, name: str, first: str) -> None:
    longest = "é" * (MAX_BYTES // 2)
    await secrets.put(name, longest, version_id=version(), stages=[Stage.PENDING])
    assert (await secrets.get(name, Stage.PENDING)).value == longest
    with pytest.raises(SecretTooLarge):
        await secrets.put(name, longest + "e", version_id=version(), stages=[Stage.PENDING])
    with pytest.raises(SecretTooLarge):
        await secrets.create(name + "x", longest + "e", version_id=version(), tags=TAGS)


async def test_more_than_fifty_writes_in_a_second_are_refused_by_the_fake() -> None:
    now = 0
    fake = FakeSecrets(lambda: now)
    for number in range(50):
        await fake.create(f"s{number}", "x", version_id=version(), tags={})
    with pytest.raises(SecretsThrottled):
        await fake.create("more", "x", version_id=version(), tags={})
    now = 1_000_000
    await fake.create("more", "x", version_id=version(), tags={})


async def test_a_deleted_secret_of_the_fake_is_gone_when_its_days_are_over() -> None:
    now = 0
    fake = FakeSecrets(lambda: now)
    await fake.create("s", "x", version_id=version(), tags={})
    with pytest.raises(SecretRejected):
        await fake.delete("s", days=6)
    await fake.delete("s", days=7)
    now = 7 * 86_400 * 1_000_000 - 1
    assert (await fake.describe("s")).deleted
    now += 1
    with pytest.raises(SecretMissing):
        await fake.describe("s")
    await fake.create("s", "y", version_id=version(), tags={})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", SecretsDenied),
        ("DecryptionFailure", SecretsDenied),
        ("InvalidRequestException", SecretPendingDeletion),
        ("ThrottlingException", SecretsThrottled),
        ("InternalServiceError", SecretsUnavailable),
        ("SomethingNew", SecretsUnavailable),
    ],
)
async def test_what_aws_answers_is_told_apart_without_its_words(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, code: str, error: type[SecretsError]
) -> None:
    made = AwsSecrets(REGION, "", aws.url)

    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "hunter2"}}, "GetSecretValue")

    monkeypatch.setattr(made._client, "get_secret_value", fail)
    with pytest.raises(SecretsError) as caught:
        await made.get("any", Stage.CURRENT)
    assert caught.type is error
    assert str(caught.value) == code
    await made.close()
