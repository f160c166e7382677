"""Checkpoints over what many write at once, and what tampering with the tables looks like."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.crypto.audit.findings import Tampering
from tests.databases import crypto_database
from tests.service.crypto_audit_store import AuditDatabase, told


@pytest.fixture
async def audit() -> AsyncIterator[AuditDatabase]:
    with crypto_database() as access:
        made = AuditDatabase(access)
        yield made
        for engine in made.engines:
            await engine.dispose()


@pytest.fixture
async def sealed(audit: AuditDatabase) -> AuditDatabase:
    """An audit with three writers and two checkpoints."""
    checkpointer = audit.checkpointer()
    for number in range(3):
        async with audit.writer() as writer:
            await writer.record([told(request_id=f"{number}-{each}") for each in range(6)])
        if number:
            await checkpointer.look()
    return audit


async def test_writers_and_checkpointers_at_once_raise_no_alarm(audit: AuditDatabase) -> None:
    """Eight writers under load; four checkpointers, of which two are killed in their work."""
    done = asyncio.Event()

    async def write(number: int) -> None:
        async with audit.writer() as writer:
            for each in range(12):
                entries = [told(request_id=f"{number}-{each}")] * (1 + each)
                await asyncio.gather(*(writer.record(entries) for _ in range(3)))

    async def seal() -> int:
        checkpointer, count = audit.checkpointer(), 0
        while not done.is_set():
            count += await checkpointer.look()
            assert checkpointer.breaks == ()
            await asyncio.sleep(0)
        return count

    async def seal_and_die() -> None:
        for _ in range(6):
            look = asyncio.create_task(audit.checkpointer().look())
            await asyncio.sleep(0.02)
            look.cancel()
            await asyncio.wait({look})

    sealers = [asyncio.create_task(seal()) for _ in range(2)]
    await asyncio.gather(*map(write, range(8)), seal_and_die(), seal_and_die())
    done.set()
    counts = await asyncio.gather(*sealers)
    await audit.checkpointer().look()
    report = await audit.report()
    assert report.is_whole, list(map(str, report.findings))
    written = 8 * (3 * sum(range(1, 13)) + 2)
    assert (report.verified, report.pending, report.size) == (written, 0, written)
    assert report.checkpoints > 1
    assert sum(counts) <= written


async def test_what_was_not_sealed_yet_waits(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await writer.record([told()])
        await audit.checkpointer().look()
        await writer.record([told()])
        report = await audit.report()
    assert (report.is_whole, report.verified, report.pending) == (True, 2, 1)
    assert await audit.checkpointer().look() == 2
    assert await audit.checkpointer().look() == 0


async def test_one_process_seals_at_a_time(audit: AuditDatabase) -> None:
    async with audit.writer() as writer:
        await writer.record([told()])
    store, checkpointer = audit.checkpointer(), audit.checkpointer()
    async with store._store.turn() as connection:
        assert connection is not None
        assert await checkpointer.look() == 0
    assert await checkpointer.look() == 3


_COPY = (
    "INSERT INTO encryption_audit SELECT writer_id, seq + 50, entry_id, accessed_at, tenant_id, "
    "subject, operation, fields, tiers, principal, purpose, request_id, success, error_code, "
    "duration_us, retention_class, details, hash FROM encryption_audit WHERE request_id = '1-3'"
)
_SWAP = (
    "UPDATE encryption_audit SET seq = -seq WHERE request_id IN ('1-1', '1-4')",
    "UPDATE encryption_audit SET seq = CASE seq WHEN -3 THEN 6 ELSE 3 END WHERE seq < 0",
)
_MOVE = (
    "UPDATE encryption_audit SET writer_id = (SELECT writer_id FROM encryption_audit "
    "WHERE request_id = '2-0'), seq = 99 WHERE request_id = '1-3'"
)


@pytest.mark.parametrize(
    ("statements", "tampering"),
    [
        (
            ["UPDATE encryption_audit SET success = false WHERE request_id = '1-3'"],
            Tampering.ENTRY_CHANGED,
        ),
        (
            ["UPDATE encryption_audit SET tiers = '{1,3}' WHERE request_id = '1-3'"],
            Tampering.ENTRY_CHANGED,
        ),
        (
            ["UPDATE encryption_audit SET hash = sha256('') WHERE request_id = '1-3'"],
            Tampering.HASH_CHANGED,
        ),
        (["DELETE FROM encryption_audit WHERE request_id = '1-3'"], Tampering.ENTRIES_MISSING),
        (["DELETE FROM encryption_audit WHERE seq >= 7"], Tampering.TAIL_MISSING),
        (_SWAP, Tampering.ENTRIES_SWAPPED),
        ([_COPY], Tampering.ENTRY_DUPLICATED),
        ([_MOVE], Tampering.ENTRY_MOVED),
        (["DROP TABLE PART"], Tampering.SEGMENT_MISSING),
        (
            [
                "DELETE FROM audit_checkpoints "
                "WHERE size = (SELECT max(size) FROM audit_checkpoints)"
            ],
            Tampering.CHECKPOINT_MISSING,
        ),
        (["UPDATE audit_runs SET segment = '1999-01'"], Tampering.RUNS_CHANGED),
        (
            ["UPDATE audit_tiles SET hashes = sha256('') || substr(hashes, 33)"],
            Tampering.TILES_CHANGED,
        ),
    ],
)
async def test_tampering_with_the_tables_is_named(
    sealed: AuditDatabase, statements: list[str], tampering: Tampering
) -> None:
    before = await sealed.report()
    assert before.is_whole, list(map(str, before.findings))
    ((part,),) = sealed.rows("SELECT min(tableoid::regclass::text) FROM encryption_audit")
    checks = "ALTER TABLE encryption_audit DROP CONSTRAINT encryption_audit_seq_check"
    sealed.tamper(checks, *(each.replace("PART", part) for each in statements))
    report = await sealed.report()
    assert {each.tampering for each in report.findings} == {tampering}, report.findings


async def test_a_database_put_back_is_told_from_what_was_kept_elsewhere(
    sealed: AuditDatabase,
) -> None:
    ((size, note),) = sealed.rows(
        "SELECT size, note FROM audit_checkpoints ORDER BY size DESC LIMIT 1"
    )
    ((writer,),) = sealed.rows("SELECT writer_id FROM encryption_audit WHERE request_id = '2-0'")
    sealed.tamper(
        f"DELETE FROM encryption_audit WHERE writer_id = '{writer}'",  # noqa: S608 - of this test
        f"DELETE FROM audit_runs WHERE writer_id = '{writer}'",  # noqa: S608 - of this test
        f"DELETE FROM audit_checkpoints WHERE size = {size}",  # noqa: S608 - of this test
    )
    assert (await sealed.report()).is_whole
    report = await sealed.report([note])
    assert [each.tampering for each in report.findings] == [Tampering.STORE_ROLLED_BACK]


@pytest.mark.parametrize(
    ("tampered", "problem"),
    [
        (lambda audit: audit.tamper("DELETE FROM encryption_audit WHERE seq = 3"), "is missing"),
        (
            lambda audit: audit.tamper("UPDATE encryption_audit SET purpose = '' WHERE seq = 3"),
            "is not what was written",
        ),
        (
            lambda audit: audit.tamper(
                "UPDATE encryption_audit SET operation = 'read' WHERE seq = 1"
            ),
            "is not what was written",
        ),
    ],
)
async def test_what_was_tampered_with_before_it_was_sealed_stays_outside(
    audit: AuditDatabase, tampered: Callable[[AuditDatabase], None], problem: str
) -> None:
    async with audit.writer() as writer:
        await writer.record([told()] * 4)
    tampered(audit)
    checkpointer = audit.checkpointer()
    await checkpointer.look()
    assert [each.problem for each in checkpointer.breaks] == [problem]
    report = await audit.report()
    assert Tampering.ENTRY_INSERTED in {each.tampering for each in report.findings}
