"""Credentials over the wire: stored, retrieved, rotated, rolled back, deleted and undeleted."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from secmesh.tenancy.v1 import credential_access_pb2 as access_pb
from secmesh.tenancy.v1.account_service_pb2 import DeleteAccountRequest, UndeleteAccountRequest
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_CURRENT as CURRENT,
)
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_PREVIOUS as PREVIOUS,
)
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_REFUSED as REFUSED,
)
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey, GcpServiceAccount
from secmesh.tenancy.v1.credential_service_pb2 import (
    DeleteCredentialRequest,
    GetCredentialRequest,
    ListCredentialVersionsRequest,
    RetrieveCredentialRequest,
    RollbackCredentialRequest,
    RotateCredentialRequest,
    StoreCredentialRequest,
    UndeleteCredentialRequest,
)
from secmesh_client.refusal import CallRefused
from services.tenancy.credentials.secrets import Stage
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.tables import Table
from tests.service.credential_story import PURPOSE, Story, key_story, role_story
from tests.service.tenancy_world import World, tenancy_world

DAY = 24 * 3600


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as made:
        yield made


@pytest.fixture
async def story(world: World) -> Story:
    return await key_story(world)


async def retrieved(story: Story, version: int = 0) -> Any:
    return await story.calls.RetrieveCredential(
        RetrieveCredentialRequest(name=story.name, purpose=PURPOSE, version=version)
    )


async def rotated(story: Story, key: AwsAccessKey, **more: Any) -> Any:
    return await story.calls.RotateCredential(
        RotateCredentialRequest(name=story.name, aws_access_key=key, **more)
    )


def states(credential: Any) -> dict[int, int]:
    return {each.version: each.state for each in credential.versions}


async def test_a_credential_is_stored_and_retrieved(story: Story) -> None:
    key = story.new_key()
    made = await story.store(key, metadata={"owner": "ops"})
    assert made.name == story.name
    assert (made.current_version, states(made)) == (1, {1: CURRENT})
    assert key.secret_access_key not in str(made)
    found = await retrieved(story)
    assert found.credentials == {
        "access_key_id": key.access_key_id,
        "secret_access_key": key.secret_access_key,
    }
    assert (found.metadata, found.version) == ({"owner": "ops"}, 1)
    facts = await story.world.secrets.describe(story.secret_name)
    assert facts.tags == {"tenant_id": story.tenant, "account_id": story.account_id}


async def test_no_secret_stands_in_the_store(story: Story) -> None:
    key = story.new_key()
    await story.store(key)
    await retrieved(story)
    store = story.world.parts.store
    assert isinstance(store, MemoryStore)
    kept = str([store.items(table) for table in Table])
    assert key.access_key_id in kept
    assert key.secret_access_key not in kept


async def test_a_retrieval_that_is_repeated_asks_nobody_but_the_store(story: Story) -> None:
    await story.store(story.new_key())
    await retrieved(story)
    before = story.world.secrets.calls.total()
    calls = len(story.world.recorder.calls)
    await retrieved(story)
    assert story.world.secrets.calls.total() == before
    assert len(story.world.recorder.calls) - calls == 2


async def test_a_request_that_is_repeated_stores_once(story: Story) -> None:
    key, request_id = story.new_key(), str(uuid.uuid4())
    first = await story.store(key, request_id=request_id)
    assert await story.store(key, request_id=request_id) == first
    with pytest.raises(CallRefused) as refused:
        await story.store(story.new_key(), request_id=request_id)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(CallRefused) as refused:
        await story.store(key)
    assert refused.value.reason == "RESOURCE_EXISTS"


@pytest.mark.parametrize("operation", ["create", "move"])
async def test_a_store_whose_answer_was_lost_is_finished_by_another(
    story: Story, operation: str
) -> None:
    key = story.new_key()
    story.world.secrets.lost.add(operation)
    with pytest.raises(CallRefused) as refused:
        await story.store(key)
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    other = story.new_key()
    await story.store(other)
    assert (await retrieved(story)).credentials["access_key_id"] == other.access_key_id
    current = await story.world.secrets.get(story.secret_name, Stage.CURRENT)
    assert other.access_key_id in current.value


async def test_a_secret_of_another_tenant_is_never_taken_over(story: Story) -> None:
    await story.world.secrets.create(
        story.secret_name, "theirs", version_id=str(uuid.uuid4()), tags={"tenant_id": "other"}
    )
    with pytest.raises(CallRefused) as refused:
        await story.store(story.new_key())
    assert refused.value.reason == "RESOURCE_EXISTS"
    assert (await story.world.secrets.get(story.secret_name, Stage.CURRENT)).value == "theirs"


async def test_what_does_not_fit_the_account_is_refused(story: Story, world: World) -> None:
    role = await role_story(world)
    with pytest.raises(CallRefused) as refused:
        await role.store(role.new_key())
    assert refused.value.reason == "CREDENTIAL_TYPE_UNFIT"
    assert refused.value.metadata["credential_type"] == "aws_iam_role"
    for text in ("no json", "[]", '{"client_email": "a"}'):
        with pytest.raises(CallRefused) as refused:
            await story.calls.StoreCredential(
                StoreCredentialRequest(
                    name=story.name, gcp_service_account=GcpServiceAccount(key_json=text)
                )
            )
        assert refused.value.reason == "FIELD_INVALID"
        assert text not in refused.value.message
    with pytest.raises(CallRefused) as refused:
        await story.calls.StoreCredential(StoreCredentialRequest(name=story.name))
    assert refused.value.reason == "FIELD_INVALID"


async def test_another_tenants_credential_is_one_that_does_not_exist(
    story: Story, world: World
) -> None:
    await story.store(story.new_key())
    rival = await world.tenant()
    calls = world.credentials(rival)
    gone = story.name.replace(story.account_id, str(uuid.uuid4()))
    messages = set()
    for name in (story.name, gone):
        request = RetrieveCredentialRequest(name=name, purpose=PURPOSE)
        with pytest.raises(CallRefused) as refused:
            await calls.RetrieveCredential(request)
        assert refused.value.code is grpc.StatusCode.NOT_FOUND
        messages.add(refused.value.message.replace(name, "X").replace(name[:-11], "X"))
    assert len(messages) == 1


async def test_a_secret_needs_its_own_permission_and_a_purpose(story: Story) -> None:
    await story.store(story.new_key())
    reader = story.world.credentials(story.tenant, roles=["viewer"])
    assert await reader.GetCredential(GetCredentialRequest(name=story.name))
    with pytest.raises(CallRefused) as refused:
        await reader.RetrieveCredential(RetrieveCredentialRequest(name=story.name, purpose=PURPOSE))
    assert refused.value.metadata["permission"] == "tenancy.credentials.retrieve"
    with pytest.raises(CallRefused) as refused:
        await story.calls.RetrieveCredential(RetrieveCredentialRequest(name=story.name))
    assert refused.value.reason == "FIELD_INVALID"


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


async def test_a_deleted_credential_comes_back_for_thirty_days(story: Story) -> None:
    key = story.new_key()
    await story.store(key)
    deleted = await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * DAY
    assert await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name)) == deleted
    with pytest.raises(CallRefused) as refused:
        await retrieved(story)
    assert refused.value.reason == "RESOURCE_DELETED"
    for again in (story.store(story.new_key()), rotated(story, story.new_key())):
        with pytest.raises(CallRefused) as refused:
            await again
        assert refused.value.reason == "RESOURCE_DELETED"
    story.world.clock.turn(30 * DAY - 1)
    await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
    assert (await retrieved(story)).credentials["access_key_id"] == key.access_key_id
    with pytest.raises(CallRefused) as refused:
        await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
    assert refused.value.reason == "RESOURCE_NOT_DELETED"


async def test_after_thirty_days_there_is_room_for_another(story: Story) -> None:
    await story.store(story.new_key())
    await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    story.world.clock.turn(30 * DAY)
    with pytest.raises(CallRefused) as refused:
        await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    assert (await story.store(story.new_key())).current_version == 1


async def test_a_credential_goes_and_comes_with_its_account(story: Story) -> None:
    await story.store(story.new_key())
    accounts = story.world.accounts(story.tenant)
    await accounts.DeleteAccount(DeleteAccountRequest(name=story.account.name))
    assert (await story.world.secrets.describe(story.secret_name)).deleted
    with pytest.raises(CallRefused) as refused:
        await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
    assert refused.value.reason == "RESOURCE_DELETED"
    await accounts.UndeleteAccount(UndeleteAccountRequest(name=story.account.name))
    assert (await retrieved(story)).version == 1


async def test_a_credential_that_was_deleted_before_its_account_stays_deleted(story: Story) -> None:
    await story.store(story.new_key())
    deleted = await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    assert not deleted.deleted_with_account
    accounts = story.world.accounts(story.tenant)
    await accounts.DeleteAccount(DeleteAccountRequest(name=story.account.name))
    # Deleted once more, it is what it was.
    again = await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    assert again == deleted
    await accounts.UndeleteAccount(UndeleteAccountRequest(name=story.account.name))
    assert (await story.world.secrets.describe(story.secret_name)).deleted
    found = await story.calls.GetCredential(GetCredentialRequest(name=story.name))
    assert found == deleted
    back = await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
    assert not back.HasField("delete_time")
    assert (await retrieved(story)).version == 1


async def test_what_came_back_with_its_account_is_deleted_by_itself_afterwards(
    story: Story,
) -> None:
    await story.store(story.new_key())
    accounts = story.world.accounts(story.tenant)
    for _ in range(2):
        await accounts.DeleteAccount(DeleteAccountRequest(name=story.account.name))
        gone = await story.calls.GetCredential(GetCredentialRequest(name=story.name))
        assert gone.deleted_with_account
        await accounts.UndeleteAccount(UndeleteAccountRequest(name=story.account.name))
        back = await story.calls.GetCredential(GetCredentialRequest(name=story.name))
        assert not back.deleted_with_account
        assert not back.HasField("delete_time")
    own = await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    assert not own.deleted_with_account
    await accounts.DeleteAccount(DeleteAccountRequest(name=story.account.name))
    await accounts.UndeleteAccount(UndeleteAccountRequest(name=story.account.name))
    kept = await story.calls.GetCredential(GetCredentialRequest(name=story.name))
    assert kept.HasField("delete_time")


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


async def test_a_first_secret_sent_again_with_other_notes_is_another_request(story: Story) -> None:
    key, request_id = story.new_key(), str(uuid.uuid4())
    made = await story.store(key, request_id=request_id, metadata={"owner": "ops"})
    assert await story.store(key, request_id=request_id, metadata={"owner": "ops"}) == made
    with pytest.raises(CallRefused) as refused:
        await story.store(key, request_id=request_id, metadata={"owner": "dev"})
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_a_secret_that_was_deleted_behind_our_back_is_told(story: Story) -> None:
    await story.store(story.new_key())
    await story.world.secrets.delete(story.secret_name, days=30)
    with pytest.raises(CallRefused) as refused:
        await retrieved(story)
    assert refused.value.reason == "SECRET_PENDING_DELETION"
    await story.world.secrets.restore(story.secret_name)
    story.world.clock.turn(5)
    assert (await retrieved(story)).version == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("throttled", "SECRET_STORE_THROTTLED"),
        ("denied", "SECRET_STORE_REFUSED"),
        ("down", "DEPENDENCY_UNAVAILABLE"),
    ],
)
async def test_faults_of_secrets_manager_are_told_apart(
    story: Story, fault: str, reason: str
) -> None:
    await story.store(story.new_key())
    # A client tries again what may be over, so that one call throttled would not be seen.
    setattr(story.world.secrets, fault, 100)
    with pytest.raises(CallRefused) as refused:
        await retrieved(story)
    assert refused.value.reason == reason
    stored, *tried = [each.granted for each in await story.accesses()]
    assert stored
    assert tried
    assert not any(tried)


async def test_a_secret_is_at_most_64_kib(world: World) -> None:
    story = await key_story(world)
    metadata = {f"k{number}": "é" * 256 for number in range(32)}
    assert await story.store(story.new_key(), metadata=metadata)
    item = await story.world.secrets.get(story.secret_name, Stage.CURRENT)
    assert len(item.value.encode()) > 16_000


async def test_whatever_is_done_stands_in_the_log(story: Story) -> None:
    await story.store(story.new_key())
    await retrieved(story)
    await rotated(story, story.new_key())
    await story.calls.RollbackCredential(RollbackCredentialRequest(name=story.name))
    await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
    entries = await story.accesses()
    names = [access_pb.CredentialAction.Name(each.action)[18:] for each in entries]
    assert names == ["STORE", "RETRIEVE", "ROTATE", "ROLL_BACK", "DELETE", "UNDELETE"]
    assert {each.subject for each in entries} == {"ann"}
    assert all(each.request_id and each.account_id == story.account_id for each in entries)
    assert entries[1].purpose == PURPOSE


async def test_no_secret_leaves_that_the_log_does_not_hold(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    await story.store(story.new_key())

    async def fail(*_: object, **__: object) -> None:
        raise OSError("no log")

    monkeypatch.setattr(type(story.world.parts.store), "write", fail)
    with pytest.raises(CallRefused) as refused:
        await retrieved(story)
    assert refused.value.reason == "INTERNAL"
