"""Credentials over the wire: stored, retrieved, rotated, rolled back, deleted and undeleted."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from secmesh.tenancy.v1 import credential_access_pb2 as access_pb
from secmesh.tenancy.v1.account_service_pb2 import DeleteAccountRequest, UndeleteAccountRequest
from secmesh.tenancy.v1.credential_pb2 import (
    CREDENTIAL_VERSION_STATE_CURRENT as CURRENT,
)
from secmesh.tenancy.v1.credential_pb2 import GcpServiceAccount
from secmesh.tenancy.v1.credential_service_pb2 import (
    DeleteCredentialRequest,
    GetCredentialRequest,
    RetrieveCredentialRequest,
    RollbackCredentialRequest,
    StoreCredentialRequest,
    UndeleteCredentialRequest,
)
from secmesh_client.refusal import CallRefused
from services.tenancy.credentials.secrets import Stage
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.tables import Table
from tests.service.credential_story import (
    PURPOSE,
    Story,
    key_story,
    retrieved,
    role_story,
    rotated,
    states,
)
from tests.service.tenancy_world import World, tenancy_world

DAY = 24 * 3600


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as made:
        yield made


@pytest.fixture
async def story(world: World) -> Story:
    return await key_story(world)


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
