"""Every write of a security record has its entry in the audit log, once and in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict

from mesh.embedded.postgres import Access
from mesh.errors import KindAppendOnly
from mesh.identifiers import first_of, new_uuid
from mesh.identity.caller import Caller
from mesh.server.call import Call, enter_call
from mesh.sql.changes import ChangeFeed, Revision
from mesh.sql.forgetting import Forgetting
from mesh.sql.isolation import isolate, isolation_problem
from mesh.sql.partitions import maintain_partitions, prepare_partitions
from mesh.sql.tenancy import acting_for
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.vocabulary_pb2 import FindingStatus
from services.security.audit import chain_store as chaining
from services.security.audit.chain_store import BATCH
from services.security.audit.departure_store import Departures
from services.security.audit.schedule import ChainSchedule
from services.security.writers import Writer, writing_as
from tests.service.audit_world import Tenant, audited_tables, tenant_of

_NUMBERS = count()


@pytest.fixture
async def tenant(audited_database: Access) -> AsyncIterator[Tenant]:
    """A tenant that nobody wrote for."""
    async with tenant_of(audited_database, f"tenant-{next(_NUMBERS)}") as made:
        yield made


def state(entry: Any, field: str) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(getattr(entry, field))
    return found


async def chained(tenant: Tenant) -> list[Any]:
    """Chain all that was written, and give the entries."""
    await tenant.chain.catch_up(tenant.name)
    return list(await tenant.entries())


async def test_each_write_has_its_entry_with_what_was_and_what_is(tenant: Tenant) -> None:
    made = await tenant.create("teams", "one", name="blue")
    made.team.name = "red"
    changed = await tenant.update(made)
    await tenant.delete(changed)
    entries = await chained(tenant)
    operations = ["teams.create", "teams.update", "teams.delete"]
    assert [entry.operation for entry in entries] == operations
    record = made.name.rpartition("/")[2]
    assert {(entry.target_type, entry.target_id) for entry in entries} == {("teams", record)}
    assert {entry.actor_name for entry in entries} == {"system"}
    created, updated, deleted = entries
    assert not created.HasField("before_state")
    assert state(created, "after_state")["name"] == "blue"
    # Of an update what changed, and nothing else.
    assert state(updated, "before_state")["name"] == "blue"
    assert state(updated, "after_state")["name"] == "red"
    assert state(updated, "after_state").keys() == {"name", "etag", "update_time"}
    assert state(deleted, "before_state")["name"] == "red"
    assert not deleted.HasField("after_state")
    assert [entry.chain_position for entry in entries] == [1, 2, 3]
    assert [entry.previous_hash for entry in entries] == ["", *(e.entry_hash for e in entries[:2])]
    assert (await tenant.check()).problem == ""


async def test_states_name_what_callers_know_by_name(tenant: Tenant) -> None:
    project = await tenant.create("projects", "p")
    open_status = FindingStatus.FINDING_STATUS_OPEN
    await tenant.create("project_issues", "i", project_id=project.name, status=open_status)
    [_, issue] = await chained(tenant)
    told = state(issue, "after_state")
    assert told["project_id"] == project.name
    assert told["status"] == "FINDING_STATUS_OPEN"
    assert datetime.fromisoformat(told["create_time"]) <= datetime.now(UTC)


async def test_no_secret_and_no_sealed_value_is_ever_told(tenant: Tenant) -> None:
    policy = await tenant.create("dlp_policies", "p")
    made = await tenant.create(
        "dlp_incidents", "i", policy_id=policy.name, content_excerpt="PLANTED excerpt"
    )
    made.dlp_incident.content_excerpt = "PLANTED again"
    await tenant.update(made)
    user = await tenant.create("users", "u", password_hash="PLANTED password")
    await tenant.delete(user)
    entries = await chained(tenant)
    assert len(entries) == 5
    told = [state(entry, name) for entry in entries for name in ("before_state", "after_state")]
    assert not {"content_excerpt", "password_hash"} & {name for each in told for name in each}
    async with tenant.store.whole() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM iam_audit_logs")).all()
    assert b"PLANTED" not in repr(rows).encode()
    assert "sealed" not in repr(told)


async def test_who_called_and_in_which_call_is_told(tenant: Tenant) -> None:
    caller = Caller("ann", tenant.name, frozenset(), frozenset({tenant.name}), 0.0)

    async def called() -> None:
        enter_call(Call("/x", caller=caller, tenant=tenant.name, request_id="call-1"))
        await tenant.create("teams", "one")

    await asyncio.create_task(called())
    await chained(tenant)
    with acting_for(tenant.name):
        page = await tenant.store.page("iam_audit_logs", tenant.parent)
    [record] = page.items
    assert record.iam_audit_log.actor_name == "ann"  # type: ignore[attr-defined]  # a record
    assert dict(record.labels) == {"request_id": "call-1"}  # type: ignore[attr-defined]  # a record


async def test_entries_of_others_get_their_place_between_the_changes(tenant: Tenant) -> None:
    await tenant.create("teams", "one")
    written = await tenant.create(
        "iam_audit_logs", "enrolled", operation="mfa.enroll", chain_position=7, entry_hash="forged"
    )
    assert not written.iam_audit_log.entry_hash
    await tenant.create("teams", "two")
    entries = await chained(tenant)
    operations = ["teams.create", "mfa.enroll", "teams.create"]
    assert [entry.operation for entry in entries] == operations
    assert [entry.chain_position for entry in entries] == [1, 2, 3]
    # An entry starts no other, however often the chain goes on.
    assert len(await chained(tenant)) == 3
    assert (await tenant.check()).problem == ""


async def test_an_entry_stays_when_who_did_it_is_gone(tenant: Tenant) -> None:
    user = await tenant.create("iam_users", "u")
    with writing_as(Writer("ann")):
        await tenant.create("iam_audit_logs", "e", iam_user_id=user.name, actor_name="bob")
    await chained(tenant)
    await tenant.delete(user)
    entries = await chained(tenant)
    assert [entry.actor_name for entry in entries] == ["system", "ann", "system"]
    assert not any(entry.HasField("iam_user_id") for entry in entries)
    assert (await tenant.check()).problem == ""


async def test_what_is_rolled_back_has_no_entry(tenant: Tenant) -> None:
    with acting_for(tenant.name):
        async with tenant.store.shared_transaction() as connection:
            await tenant.create("teams", "one")
            await connection.rollback()
    await tenant.create("teams", "two")
    assert len(await chained(tenant)) == 1


async def test_a_commit_that_comes_late_is_not_passed_by(
    tenant: Tenant, audited_database: Access
) -> None:
    with acting_for(tenant.name):
        async with AsyncExitStack() as late, tenant_of(audited_database, tenant.name) as other:
            # Its transaction has the lower number, and ends last.
            await late.enter_async_context(tenant.store.shared_transaction())
            await tenant.create("teams", "early")
            await other.create("teams", "late")
            assert await other.chain.catch_up(tenant.name) == 0
    entries = await chained(tenant)
    assert len(entries) == 2
    assert [entry.chain_position for entry in entries] == [1, 2]


async def test_many_changes_of_one_transaction_are_chained_in_batches(tenant: Tenant) -> None:
    number = 2 * BATCH + 1
    made = await tenant.create("teams", "first")
    columns = [
        each.name for each in audited_tables()["teams"].table.c if each.name not in ("id", "name")
    ]
    listed = ", ".join(columns)
    async with tenant.store.upkeep() as connection:
        await connection.execute(
            sa.text(
                f"INSERT INTO teams (id, name, {listed}) SELECT 'n' || n, 'n' || n, {listed} "  # noqa: S608  # columns of the contract
                "FROM teams, generate_series(1, :number) n WHERE tenant_id = :tenant AND id = :id"
            ),
            {"number": number, "tenant": tenant.name, "id": made.name.rpartition("/")[2]},
        )
    assert await tenant.chain.catch_up(tenant.name) == number + 1
    verdict = await tenant.check()
    assert (verdict.entries, verdict.problem) == (number + 1, "")


async def test_processes_that_chain_at_once_do_each_change_once(
    tenant: Tenant, audited_database: Access
) -> None:
    for number in range(40):
        await tenant.create("teams", f"t{number}")
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(tenant_of(audited_database, tenant.name))
            for _ in range(3)
        ]
        await asyncio.gather(*(other.chain.catch_up(tenant.name) for other in others))
    assert [entry.chain_position for entry in await tenant.entries()] == list(range(1, 41))
    assert (await tenant.check()).problem == ""


async def test_what_breaks_off_is_done_again_whole(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await tenant.create("teams", f"t{number}")

    async def killed(*_: object) -> None:
        raise ConnectionError("killed")

    chain = tenant.chain
    with monkeypatch.context() as broken:
        # After the entries, before the place up to which the feed was read.
        broken.setattr(tenant.store, "upsert", killed)
        with pytest.raises(ConnectionError):
            await chain.advance(tenant.name)
    assert await tenant.entries() == []
    assert len(await chained(tenant)) == 5
    assert (await tenant.check()).problem == ""


async def test_the_schedule_chains_what_every_tenant_wrote(
    tenant: Tenant, audited_database: Access
) -> None:
    await tenant.create("teams", "one")
    async with tenant_of(audited_database, f"{tenant.name}-too") as other:
        await other.create("teams", "one")
        waiting = await tenant.chain.waiting()
        assert {tenant.name, other.name} <= waiting.keys()
        await ChainSchedule(tenant.chain).look()
        assert len(await tenant.entries()) == len(await other.entries()) == 1
        assert not {tenant.name, other.name} & (await tenant.chain.waiting()).keys()


async def test_changes_are_not_forgotten_before_they_have_their_entries(tenant: Tenant) -> None:
    await tenant.create("teams", "one")
    await chained(tenant)
    await tenant.create("teams", "two")
    feed = ChangeFeed(tenant.store)
    tomorrow = Forgetting(feed, timedelta(days=1), clock=lambda: 2**53, read=tenant.chain.place)
    await tomorrow.look()
    async with tenant.store.whole() as connection:
        left = sa.text("SELECT count(*) FROM record_changes WHERE tenant_id = :tenant")
        assert await connection.scalar(left, {"tenant": tenant.name}) == 1
    assert len(await chained(tenant)) == 2
    await tomorrow.look()
    assert len(await chained(tenant)) == 2


async def test_a_chain_goes_on_where_transactions_count_from_one_again(tenant: Tenant) -> None:
    await tenant.create("teams", "one")
    await chained(tenant)
    # As after a restore into a new server.
    for change in (
        "audit_chains SET change_transaction = 1000000000000",
        "record_changes SET transaction_id = 1000000000000",
    ):
        await tenant.tamper(f"UPDATE {change} WHERE tenant_id = :tenant")
    await tenant.create("teams", "two")
    assert len(await chained(tenant)) == 2
    assert await tenant.chain.place(tenant.name) < Revision(1000000000000, 0)
    assert (await tenant.check()).problem == ""


async def test_the_application_can_add_entries_and_nothing_else(tenant: Tenant) -> None:
    written = await tenant.create("iam_audit_logs", "e")
    await tenant.create("teams", "one")
    await chained(tenant)
    for statement in (
        "UPDATE iam_audit_logs SET actor_name = 'bob'",
        "UPDATE iam_audit_logs SET entry_hash = NULL",
        "DELETE FROM iam_audit_logs",
        "TRUNCATE iam_audit_logs",
        "DELETE FROM iam_audit_logs_default",
        "UPDATE audit_chains SET chain_position = 0",
        "INSERT INTO audit_chains (tenant_id, id) VALUES (current_setting('secmesh.tenant'), 'x')",
        "DELETE FROM audit_chains",
        "ALTER TABLE iam_audit_logs DISABLE TRIGGER ALL",
    ):
        async with tenant.store.engine.connect() as connection:
            setting = sa.text("SELECT set_config('secmesh.tenant', :tenant, true)")
            await connection.execute(setting, {"tenant": tenant.name})
            with pytest.raises(sa.exc.ProgrammingError, match="42501"):
                await connection.execute(sa.text(statement))
    # The one column that it may write stays what it is.
    async with tenant.store.engine.connect() as connection:
        await connection.execute(setting, {"tenant": tenant.name})
        with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
            await connection.execute(sa.text("UPDATE iam_audit_logs SET tenant_id = 'other'"))
    with pytest.raises(KindAppendOnly, match="never deleted"):
        await tenant.write("delete", DeleteRecordRequest(name=written.name))


async def test_rights_beyond_are_seen_and_taken_back(tenant: Tenant) -> None:
    role = tenant.store.engine.url.username or ""

    async def problem() -> str:
        async with tenant.store.engine.connect() as connection:
            return await connection.run_sync(isolation_problem, audited_tables().metadata)

    assert await problem() == ""
    async with tenant.store.upkeep() as connection:
        await connection.exec_driver_sql(f'GRANT UPDATE, DELETE ON iam_audit_logs TO "{role}"')
    assert "may update rows of iam_audit_logs" in await problem()
    async with tenant.store.upkeep() as connection:
        await connection.run_sync(isolate, audited_tables().metadata, role)
    assert await problem() == ""
    # Rows are locked by who has a right to change them, and streams lock what they find.
    async with tenant.store.transaction(tenant.name) as connection:
        await connection.exec_driver_sql("SELECT id FROM iam_audit_logs FOR NO KEY UPDATE")


@pytest.mark.parametrize("parted", [True, False], ids=["whole parts", "one by one"])
async def test_what_leaves_by_age_is_told_and_the_rest_can_still_be_checked(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, parted: bool
) -> None:
    old = datetime.now(UTC) - timedelta(days=500)
    if parted:
        async with tenant.store.upkeep() as connection:
            await connection.run_sync(prepare_partitions, audited_tables().metadata, old)
    for number in range(5):
        # The fourth entry is young, though it stands between old ones.
        with monkeypatch.context() as then:
            if number != 3:
                then.setattr(chaining, "new_uuid", lambda: f"{first_of(old)}{new_uuid()[13:]}")
            await tenant.create("teams", f"t{number}")
            await chained(tenant)
    assert (await tenant.check()).problem == ""
    Departures(tenant.store).attend()
    gone = await maintain_partitions(tenant.owner, audited_tables().metadata)
    assert bool(gone.deleted) is not parted
    await tenant.create("teams", "new")
    entries = await chained(tenant)
    assert [(entry.operation, entry.chain_position) for entry in entries] == [
        ("teams.create", 4),
        ("audit.leave", 6),
        ("teams.create", 7),
    ]
    runs = state(entries[1], "before_state")["runs"]
    assert [(run["first"], run["last"]) for run in runs] == [(1, 3), (5, 5)]
    assert runs[0]["entry_hash"] == entries[0].previous_hash
    assert (await tenant.check()).problem == ""


async def test_entries_that_left_without_being_told_of_are_missed(tenant: Tenant) -> None:
    for number in range(3):
        await tenant.create("teams", f"t{number}")
    await chained(tenant)
    await tenant.tamper(
        "DELETE FROM iam_audit_logs WHERE tenant_id = :tenant AND chain_position = 1"
    )
    verdict = await tenant.check()
    assert verdict.problem == "the entry at place 1 was removed"
    assert verdict.entries == 0
