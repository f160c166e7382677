"""Credentials and their log on DynamoDB's adapter as on the exact store."""

import asyncio
import random
import uuid

import pytest

from cli.access_chain import problem_of
from mesh.errors import EtagMismatch
from secmesh.tenancy.v1 import account_pb2, credential_access_pb2
from services.tenancy.credentials.access_chain import first_fault
from services.tenancy.credentials.access_log import ENTRY, AccessLog
from services.tenancy.credentials.access_retention import (
    AccessRetention,
    Removed,
    checkpoint_of,
)
from services.tenancy.credentials.accesses import Use
from services.tenancy.credentials.credential_store import ACCOUNT
from services.tenancy.credentials.parts import CredentialParts, Custody
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.gate import Gate
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Put, Store
from services.tenancy.store.tables import Table
from services.tenancy.writing import OwnRequest
from tests.service.tenancy_stores import new_tenant
from tests.unit.fake_prober import FakeProber
from tests.unit.fake_secrets import FakeSecrets
from tests.unit.fake_sts import FakeSecurityTokens
from tests.unit.tenancy_clock import TurnedClock

CLOUD_ID = "111122223333"
USE = Use("ann", purpose="test")


async def opened(store: Store) -> tuple[CredentialParts, TenantScope, str]:
    """Make an account that is entered by a key."""
    scope, account_id = TenantScope(new_tenant()), str(uuid.uuid4())
    clock = TurnedClock()
    account = account_pb2.Account(
        name=f"tenants/{scope.tenant}/accounts/{account_id}",
        cloud_account_id=CLOUD_ID,
        credential_type=account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY,
        status=account_pb2.ACCOUNT_STATUS_ACTIVE,
    )
    await store.write(Put(scope.account(account_id), ACCOUNT.item(account)))
    tokens = FakeSecurityTokens(clock.now)
    custody = Custody(FakeSecrets(clock.now, 1000), tokens, FakeProber())
    parts = CredentialParts(
        custody, store, clock, Gate(store, clock), random.Random(1), "threat-engine"
    )
    return parts, scope, account_id


def new_secret(parts: CredentialParts) -> SecretText:
    tokens = parts.custody.tokens
    assert isinstance(tokens, FakeSecurityTokens)
    keys = tokens.add_user(f"arn:aws:iam::{CLOUD_ID}:user/u")
    return SecretText(
        "aws_access_key",
        {
            "access_key_id": keys.access_key_id,
            "secret_access_key": keys.secret_access_key,
        },
        {"owner": "ops"},
    )


async def test_what_is_known_of_a_credential_reads_back_as_it_was_written(
    tenancy_store: Store,
) -> None:
    parts, scope, account_id = await opened(tenancy_store)
    keeper, rotation = parts.keeper, parts.rotation
    made = await keeper.store(scope.tenant, account_id, new_secret(parts), OwnRequest(), USE)
    assert await keeper.describe(scope.tenant, account_id) == made
    second = new_secret(parts)
    made = await rotation.rotate(scope.tenant, account_id, second, made.etag, OwnRequest(), USE)
    assert await keeper.describe(scope.tenant, account_id) == made
    assert (await keeper.retrieve(scope.tenant, account_id, 0, USE)).secret == second
    deleted = await keeper.delete_credential(scope.tenant, account_id, made.etag, USE)
    assert deleted.HasField("purge_time")
    back = await keeper.undelete_credential(scope.tenant, account_id, deleted.etag, USE)
    assert not back.HasField("purge_time")
    with pytest.raises(EtagMismatch):
        await keeper.roll_back(scope.tenant, account_id, 1, made.etag, USE)
    page = await tenancy_store.query(scope.credential_accesses())
    entries = [ENTRY.message(item) for item in reversed(page.items)]
    assert [each.number for each in entries] == [1, 2, 3, 4, 5]
    assert first_fault(entries) is None


async def test_two_processes_write_one_log(tenancy_store: Store) -> None:
    scope = TenantScope(new_tenant())
    logs = [AccessLog(tenancy_store, TurnedClock()) for _ in range(2)]
    await asyncio.gather(
        *(
            log.record(scope, credential_access_pb2.CredentialAccess(account_id=str(number)))
            for number in range(4)
            for log in logs
        )
    )
    page = await tenancy_store.query(scope.credential_accesses())
    entries = [ENTRY.message(item) for item in reversed(page.items)]
    assert len(entries) == 8
    assert first_fault(entries) is None


async def test_what_is_over_is_removed_from_a_log_that_others_write(tenancy_store: Store) -> None:
    scope, clock = TenantScope(new_tenant()), TurnedClock()
    logs = [AccessLog(tenancy_store, clock) for _ in range(2)]

    async def use(log: AccessLog, account: str) -> None:
        await log.record(scope, credential_access_pb2.CredentialAccess(account_id=account))

    for number in range(5):
        await asyncio.gather(*(use(logs[0], str(number)) for _ in range(25)))
    clock.turn(91 * 86_400)
    await use(logs[1], "young")
    retention = AccessRetention(tenancy_store, clock, 90)
    removed, *_ = await asyncio.gather(
        retention.remove_over(scope.tenant), *(use(log, "young") for log in logs)
    )
    assert removed == Removed(125)
    page = await tenancy_store.query(scope.credential_accesses())
    entries = [ENTRY.message(item) for item in reversed(page.items)]
    assert [each.number for each in entries] == [126, 127, 128, 129]
    checkpoint = await checkpoint_of(tenancy_store, scope)
    assert problem_of(entries, checkpoint) is None
    # What a tenant leaves behind holds where its log begins, too.
    own = await tenancy_store.query(scope.partitions(Table.ACCOUNTS)[0])
    assert len(own.items) == 1
