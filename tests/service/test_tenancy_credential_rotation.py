"""Credentials are rotated: tested, then used, rolled back, each once however often asked."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secmesh.tenancy.v1.account_pb2 import CREDENTIAL_TYPE_GCP_SERVICE_ACCOUNT, Account
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest, DeleteAccountRequest
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_CURRENT as CURRENT,
)
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_PREVIOUS as PREVIOUS,
)
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_REFUSED as REFUSED,
)
from secmesh.tenancy.v1.credential_pb2 import GcpServiceAccount
from secmesh.tenancy.v1.credential_service_pb2 import (
    GetCredentialRequest,
    ListCredentialVersionsRequest,
    RollbackCredentialRequest,
    RotateCredentialRequest,
    StoreCredentialRequest,
)
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_GCP, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.credentials.secrets import Stage
from tests.service.credential_story import (
    Story,
    key_story,
    retrieved,
    rotated,
    states,
)
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as made:
        yield made


@pytest.fixture
async def story(world: World) -> Story:
    return await key_story(world)


async def test_a_rotation_is_tested_and_then_used(story: Story) -> None:
    old, new = story.new_key(), story.new_key()
    await story.store(old)
    await retrieved(story)
    made = await rotated(story, new)
    assert states(made) == {2: CURRENT, 1: PREVIOUS}
    assert made.HasField("watch_end_time")
    # At once, whatever was remembered.
    assert (await retrieved(story)).credentials["access_key_id"] == new.access_key_id
    assert (await retrieved(story, 1)).credentials["access_key_id"] == old.access_key_id
    held = story.world.secrets
    assert new.access_key_id in (await held.get(story.secret_name, Stage.CURRENT)).value
    assert old.access_key_id in (await held.get(story.secret_name, Stage.PREVIOUS)).value


@pytest.mark.parametrize(("problem", "where"), [("keys_refused", ""), ("other_account", "9" * 12)])
async def test_a_rotation_whose_test_fails_changes_nothing(
    story: Story, problem: str, where: str
) -> None:
    old = story.new_key()
    await story.store(old)
    new = story.new_key(where)
    if problem == "keys_refused":
        story.world.tokens.disable(new.access_key_id)
    with pytest.raises(CallRefused) as refused:
        await rotated(story, new)
    assert refused.value.reason == "CREDENTIAL_REFUSED"
    assert refused.value.metadata["problem"] == problem
    assert (await retrieved(story)).credentials["access_key_id"] == old.access_key_id
    listed = await story.calls.ListCredentialVersions(
        ListCredentialVersionsRequest(name=story.name)
    )
    assert states(listed) == {2: REFUSED, 1: CURRENT}
    with pytest.raises(CallRefused) as refused:
        await retrieved(story, 2)
    assert refused.value.reason == "CREDENTIAL_VERSION_UNFIT"
    facts = await story.world.secrets.describe(story.secret_name)
    assert [each.stages for each in facts.versions] == [{Stage.CURRENT, "v1"}]


async def test_of_two_rotations_at_once_the_second_is_refused(story: Story) -> None:
    await story.store(story.new_key())
    keys, tokens = [story.new_key() for _ in range(2)], story.world.tokens
    tokens.answering.clear()
    first = asyncio.ensure_future(rotated(story, keys[0]))
    async with asyncio.timeout(60):
        while not tokens.calls["identity"]:
            await asyncio.sleep(0.01)
    with pytest.raises(CallRefused) as refused:
        await rotated(story, keys[1])
    assert refused.value.reason == "CREDENTIAL_ROTATING"
    tokens.answering.set()
    assert states(await first) == {2: CURRENT, 1: PREVIOUS}
    assert (await retrieved(story)).credentials["access_key_id"] == keys[0].access_key_id


async def test_a_rotation_that_broke_off_is_finished_by_the_same_request(story: Story) -> None:
    await story.store(story.new_key())
    new, request_id = story.new_key(), str(uuid.uuid4())
    story.world.tokens.down = True
    with pytest.raises(CallRefused) as refused:
        await rotated(story, new, request_id=request_id)
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    story.world.tokens.down = False
    with pytest.raises(CallRefused) as refused:
        await rotated(story, story.new_key())
    assert refused.value.reason == "CREDENTIAL_ROTATING"
    made = await rotated(story, new, request_id=request_id)
    assert made.current_version == 2
    assert await rotated(story, new, request_id=request_id) == made


async def test_a_rotation_that_nobody_finishes_gives_way(story: Story) -> None:
    await story.store(story.new_key())
    story.world.secrets.lost.add("put")
    with pytest.raises(CallRefused):
        await rotated(story, story.new_key())
    story.world.clock.turn(121)
    other = story.new_key()
    made = await rotated(story, other)
    assert states(made) == {3: CURRENT, 2: REFUSED, 1: PREVIOUS}
    assert (await retrieved(story)).credentials["access_key_id"] == other.access_key_id


async def test_a_stale_etag_rotates_nothing(story: Story) -> None:
    made = await story.store(story.new_key())
    await rotated(story, story.new_key(), etag=made.etag)
    with pytest.raises(CallRefused) as refused:
        await rotated(story, story.new_key(), etag=made.etag)
    assert refused.value.reason == "ETAG_MISMATCH"


async def test_an_older_version_is_put_back(story: Story) -> None:
    keys = [story.new_key() for _ in range(3)]
    await story.store(keys[0])
    for key in keys[1:]:
        await rotated(story, key)
    back = await story.calls.RollbackCredential(RollbackCredentialRequest(name=story.name))
    assert (back.current_version, states(back)[3]) == (2, PREVIOUS)
    back = await story.calls.RollbackCredential(
        RollbackCredentialRequest(name=story.name, version=1)
    )
    assert back.current_version == 1
    assert (await retrieved(story)).credentials["access_key_id"] == keys[0].access_key_id
    current = await story.world.secrets.get(story.secret_name, Stage.CURRENT)
    assert keys[0].access_key_id in current.value
    with pytest.raises(CallRefused) as refused:
        await story.calls.RollbackCredential(RollbackCredentialRequest(name=story.name, version=9))
    assert refused.value.reason == "CREDENTIAL_VERSION_UNFIT"


async def test_the_oldest_versions_make_room(story: Story) -> None:
    await story.store(story.new_key())
    for _ in range(11):
        made = await rotated(story, story.new_key())
    assert sorted(states(made)) == list(range(3, 13))
    facts = await story.world.secrets.describe(story.secret_name)
    stages = {stage for each in facts.versions for stage in each.stages}
    assert stages == {f"v{number}" for number in range(3, 13)} | {Stage.CURRENT, Stage.PREVIOUS}


async def test_a_rotation_sent_again_with_other_words_is_another_request(story: Story) -> None:
    first, request_id = await story.store(story.new_key()), str(uuid.uuid4())
    key = story.new_key()
    asked = {"request_id": request_id, "etag": first.etag}
    made = await rotated(story, key, **asked)
    assert await rotated(story, key, **asked) == made
    for etag in ("", "v99", made.etag):
        with pytest.raises(CallRefused) as refused:
            await rotated(story, key, request_id=request_id, etag=etag)
        assert refused.value.reason == "REQUEST_ID_REUSED"
    # It names one request of the tenant, whatever that asked for.
    deletion = DeleteAccountRequest(name=story.account.name, request_id=request_id)
    with pytest.raises(CallRefused) as refused:
        await story.world.accounts(story.tenant).DeleteAccount(deletion)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert (await retrieved(story)).version == 2


async def test_one_rotation_that_comes_many_times_at_once_adds_one_version(story: Story) -> None:
    await story.store(story.new_key())
    key, request_id = story.new_key(), str(uuid.uuid4())

    async def rotate() -> str:
        try:
            await rotated(story, key, request_id=request_id)
        except CallRefused as refused:
            return refused.reason
        return ""

    told = await asyncio.gather(*(rotate() for _ in range(5)))
    # Those that carried one on together tell who of them was first by the etag.
    assert set(told) <= {"", "ETAG_MISMATCH"}
    assert "" in told
    found = await story.calls.GetCredential(GetCredentialRequest(name=story.name))
    assert states(found) == {1: PREVIOUS, 2: CURRENT}


async def test_a_refused_rotation_sent_again_is_refused_again(story: Story) -> None:
    await story.store(story.new_key())
    key, request_id = story.new_key("999999999999"), str(uuid.uuid4())
    for _ in range(2):
        with pytest.raises(CallRefused) as refused:
            await rotated(story, key, request_id=request_id)
        assert refused.value.reason == "CREDENTIAL_REFUSED"
    with pytest.raises(CallRefused) as refused:
        await rotated(story, key, request_id=request_id, etag="v1")
    assert refused.value.reason == "REQUEST_ID_REUSED"


def google(email: str) -> dict[str, Any]:
    """Give a request's secret: the key file of a service account."""
    parts = {"client_email": email, "private_key": "p", "private_key_id": email}
    return {"gcp_service_account": GcpServiceAccount(key_json=json.dumps(parts))}


async def test_what_cannot_be_tested_is_replaced_when_that_is_said(
    story: Story, world: World
) -> None:
    await story.store(story.new_key())
    with pytest.raises(CallRefused) as refused:
        await rotated(story, story.new_key(), untested=True)
    assert refused.value.reason == "FIELD_INVALID"
    assert "untested" in refused.value.message

    tenant = await world.tenant()
    made = await world.providers(tenant).CreateProvider(
        CreateProviderRequest(
            parent=f"tenants/{tenant}",
            provider=Provider(provider_type=PROVIDER_TYPE_GCP, provider_name="Google"),
        )
    )
    given = Account(
        provider=made.name,
        cloud_account_id="my-project-1",
        account_name="g",
        credential_type=CREDENTIAL_TYPE_GCP_SERVICE_ACCOUNT,
    )
    account = await world.accounts(tenant).CreateAccount(
        CreateAccountRequest(parent=f"tenants/{tenant}", account=given)
    )
    there = Story(world, tenant, account)
    await there.calls.StoreCredential(StoreCredentialRequest(name=there.name, **google("a@b")))
    request = RotateCredentialRequest(name=there.name, **google("c@d"))
    with pytest.raises(CallRefused) as refused:
        await there.calls.RotateCredential(request)
    assert refused.value.reason == "PROVIDER_UNSUPPORTED"
    assert "set untested" in refused.value.message
    request.untested = True
    request.request_id = str(uuid.uuid4())
    first = await there.calls.RotateCredential(request)
    assert states(first) == {2: CURRENT, 1: PREVIOUS}
    assert await there.calls.RotateCredential(request) == first
    assert (await retrieved(there)).credentials["client_email"] == "c@d"
    back = await there.calls.RollbackCredential(RollbackCredentialRequest(name=there.name))
    assert states(back)[1] == CURRENT
    assert (await retrieved(there)).credentials["client_email"] == "a@b"
