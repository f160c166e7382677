"""Accounts: registered once, led from status to status, deleted with their secrets."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.errors import DependencyUnavailable, EtagMismatch
from secmesh.tenancy.v1 import account_pb2 as messages
from secmesh.tenancy.v1 import account_service_pb2 as pb
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, PROVIDER_TYPE_AZURE
from secmesh.tenancy.v1.provider_service_pb2 import DeleteProviderRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.account_status import ACTIVE, DELETED, FAILED, PENDING, SUSPENDED, VERIFIED
from services.tenancy.errors import AccountStatusUnfit
from services.tenancy.store.port import StoreUnavailable
from tests.service.account_setting import LosingStore, RememberedSecrets, Setting, create
from tests.service.tenancy_world import role_account, tenancy_world

DAYS = 24 * 3600


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    secrets = RememberedSecrets()
    async with tenancy_world(tmp_path, secrets=secrets, max_accounts=5) as world:
        tenant = await world.tenant()
        await world.provider(tenant)
        yield Setting(world, tenant, secrets)


async def test_an_account_is_registered_and_found_by_the_vendors_id(setting: Setting) -> None:
    made = await setting.world.account(setting.tenant)
    assert made.name.startswith(f"tenants/{setting.tenant}/accounts/")
    assert (made.status, made.provider_type) == (PENDING, PROVIDER_TYPE_AWS)
    assert len(bytes.fromhex(made.external_id)) == 16
    assert await setting.get(made.name) == made
    asked = pb.LookupAccountRequest(
        parent=f"tenants/{setting.tenant}",
        provider_type=PROVIDER_TYPE_AWS,
        cloud_account_id=made.cloud_account_id,
    )
    assert await setting.stub.LookupAccount(asked) == made
    asked.provider_type = PROVIDER_TYPE_AZURE
    with pytest.raises(CallRefused) as refused:
        await setting.stub.LookupAccount(asked)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    assert await setting.counts() == (1, 1)


async def test_external_ids_are_ours_and_differ(setting: Setting) -> None:
    given = role_account(setting.tenant)
    given.external_id = "0" * 32
    one = await setting.stub.CreateAccount(create(setting.tenant, given))
    two = await setting.world.account(setting.tenant, 2)
    assert len({"0" * 32, one.external_id, two.external_id}) == 3
    changed = messages.Account(name=one.name, external_id="1" * 32, account_name="Renamed")
    mask = FieldMask(paths=["external_id", "account_name"])
    after = await setting.stub.UpdateAccount(
        pb.UpdateAccountRequest(account=changed, update_mask=mask)
    )
    assert (after.external_id, after.account_name) == (one.external_id, "Renamed")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cloud_account_id": "12345678901"}, "account.cloud_account_id"),
        ({"cloud_account_id": "my-project"}, "account.cloud_account_id"),
        ({"role_arn": "arn:aws:iam::999999999999:role/audit"}, "account.role_arn"),
        ({"role_arn": "arn:aws:iam::000000000001:user/audit"}, "account.role_arn"),
        ({"role_arn": None}, "account.role_arn"),
        ({"account_name": None}, "account.account_name"),
        ({"credential_type": messages.CREDENTIAL_TYPE_AWS_ACCESS_KEY}, "account.role_arn"),
        ({"credential_type": 0}, "account.credential_type"),
        (
            {"credential_type": messages.CREDENTIAL_TYPE_GCP_SERVICE_ACCOUNT, "role_arn": None},
            "account.credential_type",
        ),
        ({"provider": "tenants/tenant-1"}, "account.provider"),
        ({"provider": None}, "account.provider"),
    ],
)
async def test_what_does_not_fit_together_is_named(
    setting: Setting, changes: dict[str, object], field: str
) -> None:
    given: Any = role_account(setting.tenant)
    for name, value in changes.items():
        if value is None:
            given.ClearField(name)
        else:
            setattr(given, name, value)
    with pytest.raises(CallRefused) as refused:
        await setting.stub.CreateAccount(create(setting.tenant, given))
    assert refused.value.reason == "FIELD_INVALID"
    assert field in str(refused.value)
    assert await setting.counts() == (0, 0)


async def test_an_account_is_registered_once(setting: Setting) -> None:
    calls = [setting.world.account(setting.tenant, 1) for _ in range(4)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, messages.Account) for each in ended) == 1
    refused = [each for each in ended if isinstance(each, CallRefused)]
    assert {each.reason for each in refused} == {"VALUE_TAKEN"}
    assert await setting.counts() == (1, 1)


async def test_an_account_needs_a_provider_that_there_is(setting: Setting) -> None:
    with pytest.raises(CallRefused) as refused:
        await setting.world.account(setting.tenant, 1, "none")
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_the_quota_holds_however_many_come_at_once(setting: Setting) -> None:
    calls = [setting.world.account(setting.tenant, number) for number in range(1, 10)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, messages.Account) for each in ended) == 5
    refused = [each for each in ended if isinstance(each, CallRefused)]
    assert {each.reason for each in refused} == {"QUOTA_EXCEEDED"}
    assert await setting.counts() == (5, 5)


async def test_a_verification_leads_through_the_statuses(setting: Setting) -> None:
    accounts = setting.world.parts.accounts
    made = await setting.world.account(setting.tenant)
    setting.world.clock.turn(60)
    verified = await accounts.verified(setting.tenant, made, VERIFIED)
    assert verified.status == VERIFIED
    assert verified.verify_time.seconds == made.create_time.seconds + 60
    assert (await accounts.enterable(setting.tenant, made.name.rpartition("/")[2])).name
    active = await accounts.verified(setting.tenant, verified, ACTIVE)
    failed = await accounts.verified(setting.tenant, active, FAILED, "the role is gone")
    read = await setting.get(made.name)
    assert (read.status, read.status_reason) == (FAILED, "the role is gone")
    with pytest.raises(AccountStatusUnfit):
        await accounts.enterable(setting.tenant, made.name.rpartition("/")[2])
    again = await accounts.verified(setting.tenant, failed, ACTIVE)
    assert (again.status, again.status_reason) == (ACTIVE, "")
    # What was found out about an older state says nothing about this one.
    with pytest.raises(EtagMismatch):
        await accounts.verified(setting.tenant, active, FAILED)


async def test_a_suspended_account_is_not_entered_until_it_is_verified_again(
    setting: Setting,
) -> None:
    accounts, tenant = setting.world.parts.accounts, setting.tenant
    made = await setting.world.account(tenant)
    await accounts.verified(tenant, made, ACTIVE)
    suspended = await setting.stub.SuspendAccount(
        pb.SuspendAccountRequest(name=made.name, reason="under attack")
    )
    assert (suspended.status, suspended.status_reason) == (SUSPENDED, "under attack")
    with pytest.raises(AccountStatusUnfit):
        await accounts.enterable(tenant, made.name.rpartition("/")[2])
    with pytest.raises(AccountStatusUnfit):
        await accounts.verified(tenant, suspended, ACTIVE)
    with pytest.raises(CallRefused) as refused:
        await setting.stub.SuspendAccount(pb.SuspendAccountRequest(name=made.name))
    assert refused.value.reason == "ACCOUNT_STATUS_UNFIT"
    assert refused.value.metadata["status"] == "suspended"
    resumed = await setting.stub.ResumeAccount(pb.ResumeAccountRequest(name=made.name))
    assert resumed.status == PENDING
    with pytest.raises(CallRefused) as refused:
        await setting.stub.ResumeAccount(pb.ResumeAccountRequest(name=made.name))
    assert refused.value.metadata["status"] == "pending"


async def test_another_way_in_has_an_account_verified_again(setting: Setting) -> None:
    tenant = setting.tenant
    made = await setting.world.account(tenant)
    active = await setting.world.parts.accounts.verified(tenant, made, ACTIVE)
    renamed = messages.Account(name=made.name, account_name="Renamed")
    request = pb.UpdateAccountRequest(account=renamed)
    assert (await setting.stub.UpdateAccount(request)).status == ACTIVE
    moved = messages.Account(name=made.name, role_arn="arn:aws:iam::000000000001:role/other")
    changed = await setting.stub.UpdateAccount(pb.UpdateAccountRequest(account=moved))
    assert changed.status == PENDING
    with pytest.raises(EtagMismatch):
        await setting.world.parts.accounts.verified(tenant, active, ACTIVE)
    by_key = messages.Account(
        name=made.name, credential_type=messages.CREDENTIAL_TYPE_AWS_ACCESS_KEY
    )
    mask = FieldMask(paths=["credential_type", "role_arn"])
    keyed = await setting.stub.UpdateAccount(
        pb.UpdateAccountRequest(account=by_key, update_mask=mask)
    )
    assert not keyed.role_arn
    for path, value in (("cloud_account_id", "000000000009"), ("provider", None)):
        given = messages.Account(name=made.name)
        if value:
            setattr(given, path, value)
        else:
            given.provider = f"tenants/{tenant}/providers/other"
        with pytest.raises(CallRefused) as refused:
            await setting.stub.UpdateAccount(pb.UpdateAccountRequest(account=given))
        assert f"account.{path}: cannot change" in str(refused.value)


async def test_a_deleted_account_comes_back_unproved_and_with_its_secrets(
    setting: Setting,
) -> None:
    tenant, secrets = setting.tenant, setting.secrets
    made = await setting.world.account(tenant)
    account = made.name.rpartition("/")[2]
    await setting.world.parts.accounts.verified(tenant, made, ACTIVE)
    deleted = await setting.stub.DeleteAccount(pb.DeleteAccountRequest(name=made.name))
    assert deleted.status == DELETED
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * DAYS
    assert secrets.asked == [f"follow {tenant} {account}"]
    assert await setting.counts() == (0, 0)
    with pytest.raises(CallRefused) as refused:
        await setting.world.account(tenant)
    assert refused.value.reason == "VALUE_TAKEN"
    renamed = messages.Account(name=made.name, account_name="x")
    for call in (
        setting.stub.UpdateAccount(pb.UpdateAccountRequest(account=renamed)),
        setting.stub.DeleteAccount(pb.DeleteAccountRequest(name=made.name)),
    ):
        with pytest.raises(CallRefused) as refused:
            await call
        assert refused.value.reason == "RESOURCE_DELETED"
    restored = await setting.stub.UndeleteAccount(pb.UndeleteAccountRequest(name=made.name))
    assert (restored.status, restored.external_id) == (PENDING, made.external_id)
    assert secrets.asked[-1] == f"follow {tenant} {account}"
    assert await setting.counts() == (1, 1)


async def test_secrets_follow_an_account_when_the_call_is_repeated(setting: Setting) -> None:
    parts, tenant, secrets = setting.world.parts, setting.tenant, setting.secrets
    made = await setting.world.account(tenant)
    account = made.name.rpartition("/")[2]
    gone = pb.DeleteAccountRequest(name=made.name, request_id=str(uuid.uuid4()))
    secrets.broken = True
    with pytest.raises(DependencyUnavailable):
        await parts.accounts.delete(tenant, account, "", parts.named(tenant, gone.request_id, gone))
    secrets.broken = False
    assert (await setting.stub.DeleteAccount(gone)).status == DELETED
    assert secrets.asked == [f"follow {tenant} {account}"]
    with pytest.raises(CallRefused):
        await setting.stub.DeleteAccount(pb.DeleteAccountRequest(name=made.name))
    assert secrets.asked == [f"follow {tenant} {account}"] * 2
    back = pb.UndeleteAccountRequest(name=made.name, request_id=str(uuid.uuid4()))
    named = parts.named(tenant, back.request_id, back)
    secrets.broken = True
    with pytest.raises(DependencyUnavailable):
        await parts.accounts.undelete(tenant, account, "", named)
    secrets.broken = False
    assert (await setting.stub.UndeleteAccount(back)).status == PENDING
    assert secrets.asked[2:] == [f"follow {tenant} {account}"]


async def test_an_account_does_not_come_back_to_a_provider_that_is_gone(setting: Setting) -> None:
    made = await setting.world.account(setting.tenant)
    await setting.stub.DeleteAccount(pb.DeleteAccountRequest(name=made.name))
    await setting.world.providers(setting.tenant).DeleteProvider(
        DeleteProviderRequest(name=made.provider)
    )
    with pytest.raises(CallRefused) as refused:
        await setting.stub.UndeleteAccount(pb.UndeleteAccountRequest(name=made.name))
    assert (refused.value.reason, refused.value.metadata["resource"]) == (
        "RESOURCE_DELETED",
        made.provider,
    )


async def test_after_thirty_days_the_vendors_id_is_free(setting: Setting) -> None:
    made = await setting.world.account(setting.tenant)
    await setting.stub.DeleteAccount(pb.DeleteAccountRequest(name=made.name))
    setting.world.clock.turn(30 * DAYS)
    with pytest.raises(CallRefused) as refused:
        await setting.get(made.name)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    again = await setting.world.account(setting.tenant)
    assert again.name != made.name
    assert again.external_id != made.external_id


async def test_accounts_are_listed_by_provider_and_status(setting: Setting) -> None:
    world, tenant = setting.world, setting.tenant
    await world.provider(tenant, "second")
    first = [await world.account(tenant, number) for number in (1, 2)]
    other = await world.account(tenant, 3, "second")
    active = await world.parts.accounts.verified(tenant, first[1], ACTIVE)
    gone = await setting.stub.DeleteAccount(pb.DeleteAccountRequest(name=first[0].name))

    async def listed(**asked: object) -> set[str]:
        request = pb.ListAccountsRequest(parent=f"tenants/{tenant}")
        for key, value in asked.items():
            setattr(request, key, value)
        return {each.name for each in (await setting.stub.ListAccounts(request)).accounts}

    aws = f"tenants/{tenant}/providers/aws"
    assert await listed() == {active.name, other.name}
    assert await listed(show_deleted=True) == {active.name, other.name, gone.name}
    assert await listed(provider=aws) == {active.name}
    assert await listed(provider=aws, status=ACTIVE) == {active.name}
    assert await listed(provider=aws, status=DELETED) == {gone.name}
    assert await listed(provider=aws, status=PENDING) == set()
    with pytest.raises(CallRefused) as refused:
        await listed(status=ACTIVE)
    assert "status" in str(refused.value)


async def test_a_request_that_is_sent_again_makes_no_second_account(setting: Setting) -> None:
    request = create(setting.tenant, role_account(setting.tenant), str(uuid.uuid4()))
    one, two = await asyncio.gather(*(setting.stub.CreateAccount(request) for _ in range(2)))
    assert one == two == await setting.stub.CreateAccount(request)
    assert await setting.counts() == (1, 1)
    request.account.account_name = "Another"
    with pytest.raises(CallRefused) as refused:
        await setting.stub.CreateAccount(request)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_a_write_whose_answer_was_lost_is_answered_all_the_same(setting: Setting) -> None:
    parts, tenant = setting.world.parts, setting.tenant
    request = create(tenant, role_account(tenant), str(uuid.uuid4()))
    named = parts.named(tenant, request.request_id, request)
    losing = replace(parts, store=LosingStore(parts.store))
    made = await named.once(
        lambda: losing.accounts.create(tenant, request.account, named), setting.get
    )
    assert await setting.stub.CreateAccount(request) == made
    assert await setting.counts() == (1, 1)
    # Without an id nobody knows whose the account is that stands there.
    nameless = create(tenant, role_account(tenant, 2))
    with pytest.raises(StoreUnavailable):
        await losing.accounts.create(tenant, nameless.account, parts.named(tenant, "", nameless))
    assert await setting.counts() == (2, 2)
