"""Entries are durable when a call goes on, in one chain a process, whatever becomes of it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.errors import DependencyUnavailable
from services.crypto.audit.append_store import AppendInDoubt, AppendRefused, AppendStore
from services.crypto.audit.chain import Chain, entry_of
from services.crypto.audit.entry import BEFORE_FIRST, Operation
from services.crypto.audit.parts import months
from services.crypto.audit.sealing import Stored
from services.crypto.audit.writer import WAITING, AuditWriter
from tests.databases import crypto_database
from tests.service.crypto_audit_store import ORIGIN, SUBJECTS, USER, WRITER, AuditDatabase, told


@pytest.fixture
async def audit() -> AsyncIterator[AuditDatabase]:
    with crypto_database() as access:
        made = AuditDatabase(access)
        yield made
        for engine in made.engines:
            await engine.dispose()


async def test_an_entry_is_there_when_the_call_goes_on(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await writer.record([told(error_code="KEY_DISABLED", success=False, duration_us=17)])
        start, entry = audit.rows(
            "SELECT tenant_id, subject, operation, fields, tiers, principal, purpose, request_id, "
            "success, error_code, duration_us, retention_class, details, seq "
            "FROM encryption_audit ORDER BY seq"
        )
    assert entry == (
        *("acme", SUBJECTS.of("acme", USER), "decrypt", ["address", "ssn"], [2, 3]),
        *("ann", "support", "r1", False, "KEY_DISABLED", 17, "standard", "", 2),
    )
    assert (start[0], start[2], start[-1]) == ("-", "start_writer", 1)
    ended = audit.rows("SELECT operation FROM encryption_audit WHERE seq = 3")
    assert ended == [("stop_writer",)]


async def test_calls_at_once_share_transactions(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await asyncio.gather(*(writer.record([told()] * 3) for _ in range(200)))
        written = audit.rows("SELECT count(*), count(DISTINCT xmin::text) FROM encryption_audit")
    ((entries, transactions),) = written
    assert entries == 601
    assert transactions <= 20
    numbers = audit.rows("SELECT seq FROM encryption_audit ORDER BY seq")
    assert [seq for (seq,) in numbers] == list(range(1, 603))


async def test_the_clock_of_a_chain_never_goes_back(audit: AuditDatabase) -> None:
    moments = iter([2_000_000, 1_000_000, 3_000_000, 3_000_000])
    base = int(audit.rows("SELECT extract(epoch FROM now())::bigint")[0][0]) * 1_000_000
    async with audit.writer(lambda: base + next(moments)) as writer:
        for _ in range(3):
            await writer.record([told()])
    rows = audit.rows(
        "SELECT (extract(epoch FROM accessed_at) * 1000000)::bigint "
        "FROM encryption_audit WHERE operation = 'decrypt'"
    )
    assert sorted(row[0] - base for row in rows) == [2_000_000, 2_000_000, 3_000_000]


async def test_a_batch_over_the_end_of_a_month_is_written_whole_or_not_at_all(
    audit: AuditDatabase,
) -> None:
    now, then = list(months(datetime.now(UTC), 2))
    moments = [each + timedelta(days=1) for each in (now, then, then + timedelta(days=400))]
    first, second, never = (int(each.timestamp()) * 1_000_000 for each in moments)
    chain = Chain(bytes(16))
    store = AppendStore(audit.application())

    def batch(*when: int) -> Sequence[Stored]:
        return chain.bound([entry_of(told(), b"", moment) for moment in when])[1]

    with pytest.raises(AppendRefused):
        await store.append(batch(first, never))
    assert audit.count() == 0
    await store.append(batch(first, second))
    assert audit.count() == 2
    assert audit.rows("SELECT count(DISTINCT xmin::text) FROM encryption_audit") == [(1,)]


@pytest.mark.parametrize(
    "bad",
    [
        {"purpose": "a\0b"},
        {"principal": "\ud800"},
        {"details": "x" * 5000},
        {"fields": (("ssn,x", 3),)},
        {"fields": (("ssn", 4),)},
        {"duration_us": -1},
    ],
)
async def test_what_cannot_be_kept_is_refused_alone(
    audit: AuditDatabase, bad: dict[str, Any]
) -> None:
    async with audit.writer() as writer:
        good = asyncio.create_task(writer.record([told()]))
        with pytest.raises(ValueError):
            await writer.record([told(**bad)])
        await good
    assert audit.count() == 3


async def test_nothing_is_told_is_nothing_written(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await writer.record([])
    assert audit.count() == 0


async def test_a_month_without_its_part_refuses_calls_and_keeps_the_chain(
    audit: AuditDatabase,
) -> None:
    base = int(audit.rows("SELECT extract(epoch FROM now())::bigint")[0][0]) * 1_000_000
    far = base + 400 * 86_400 * 1_000_000
    moments = [base]
    async with audit.writer(lambda: moments[0]) as writer:
        await writer.record([told()])
        moments[0] = far
        with pytest.raises(DependencyUnavailable):
            await writer.record([told()])
    assert audit.rows("SELECT max(seq), count(DISTINCT writer_id) FROM encryption_audit") == [
        (2, 1)
    ]


class _Lossy(AppendStore):
    """Loses the connection at the end of some transactions, before or after the commit."""

    def __init__(self, engine: AsyncEngine, losses: list[str]) -> None:
        super().__init__(engine)
        self.losses = losses

    async def append(self, entries: Sequence[Stored]) -> None:
        loss = self.losses.pop(0) if self.losses else ""
        if loss == "refused":
            raise AppendRefused("no")
        if loss != "before":
            await super().append(entries)
        if loss:
            raise AppendInDoubt("connection lost")


@pytest.mark.parametrize("loss", ["before", "after"])
async def test_what_is_in_doubt_is_written_again_in_a_chain_that_says_so(
    audit: AuditDatabase, loss: str
) -> None:
    store = _Lossy(audit.application(), ["", loss])
    writer = AuditWriter(store, SUBJECTS, WRITER, ORIGIN)
    writer.start()
    await writer.record([told(request_id="one")])
    await writer.record([told(request_id="two")])
    await writer.close()
    rows = audit.rows("SELECT entry_id, writer_id FROM encryption_audit WHERE request_id = 'two'")
    assert len(rows) == (2 if loss == "after" else 1)
    assert len({entry for entry, _ in rows}) == 1
    notes = audit.rows("SELECT details, writer_id FROM encryption_audit WHERE seq = 1")
    first, second = sorted(notes, key=lambda row: "follows -" not in row[0])
    assert f"\nfollows {first[1].hex}\n" in second[0]


async def test_a_database_that_is_gone_refuses_calls_until_it_is_back(audit: AuditDatabase) -> None:
    store = _Lossy(audit.application(), ["refused", "before", "before"])
    writer = AuditWriter(store, SUBJECTS, WRITER, ORIGIN)
    writer.start()
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await writer.record([told()])
    await writer.record([told(request_id="later")])
    await writer.close()
    assert audit.rows("SELECT count(*) FROM encryption_audit WHERE request_id = 'later'") == [(1,)]


async def test_a_session_that_is_ended_costs_no_entry(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await writer.record([told(request_id="0")])
        for number in range(1, 6):
            audit.tamper(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = 'secmesh_application' AND datname = current_database()"
            )
            await writer.record([told(request_id=str(number))])
    rows = audit.rows("SELECT DISTINCT request_id FROM encryption_audit WHERE tenant_id = 'acme'")
    assert {row[0] for row in rows} == set("012345")


async def test_more_than_can_wait_is_refused_at_once(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        with pytest.raises(DependencyUnavailable):
            await writer.record([told()] * (WAITING + 1))
        await writer.record([told()])


async def test_a_writer_that_ended_takes_nothing(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        pass
    with pytest.raises(DependencyUnavailable):
        await writer.record([told()])


_DENIED = [
    "UPDATE {part} SET principal = 'bob'",
    "DELETE FROM {part}",
    "TRUNCATE {part}",
    "SELECT * FROM {part}",
    "INSERT INTO encryption_audit SELECT * FROM encryption_audit",
    "UPDATE encryption_audit SET principal = 'bob'",
    "DELETE FROM audit_checkpoints",
    "INSERT INTO audit_checkpoints VALUES (1, '', now())",
    "UPDATE audit_runs SET segment = ''",
]


async def test_the_service_adds_entries_and_changes_none(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await writer.record([told()])
    ((part,),) = audit.rows("SELECT tableoid::regclass::text FROM encryption_audit LIMIT 1")
    with psycopg.connect(audit.access.application, autocommit=True) as connection:
        for statement in _DENIED:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(part=part))
        connection.execute("SELECT set_config('secmesh.tenant', 'beta', false)")
        assert connection.execute("SELECT * FROM encryption_audit").fetchall() == []


@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET purpose = ''", "DELETE FROM {}", "TRUNCATE {}"]
)
async def test_even_the_owner_trips_over_a_wire(audit: AuditDatabase, statement: str) -> None:
    async with audit.writer() as writer:
        await writer.record([told()])
    ((part,),) = audit.rows("SELECT tableoid::regclass::text FROM encryption_audit LIMIT 1")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"):
        audit.rows(statement.format(part))


async def test_a_process_killed_between_commit_and_answer_leaves_a_whole_chain(
    audit: AuditDatabase,
) -> None:
    command = [sys.executable, "-m", "tests.service.crypto_audit_killed", audit.access.application]
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == -signal.SIGKILL
    rows = audit.rows("SELECT seq, request_id, hash FROM encryption_audit ORDER BY seq")
    # The last one was committed, and nobody was told.
    assert [row[0] for row in rows] == list(range(1, 5))
    assert rows[-1][1] == "2"
    assert rows[0][2] != BEFORE_FIRST
    operations = audit.rows("SELECT operation FROM encryption_audit")
    assert (Operation.STOP_WRITER,) not in operations
