"""What the audit does by itself: segments that end and leave, alerts, changes seen by triggers."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import DependencyUnavailable
from mesh.identifiers import new_uuid
from services.crypto.audit.anchoring import Anchoring
from services.crypto.audit.anchors import AnchorFailed, FileAnchors
from services.crypto.audit.entry import Entry, Operation
from services.crypto.audit.findings import Tampering
from services.crypto.audit.parts import months
from tests.databases import crypto_database
from tests.service.crypto_audit_store import SUBJECTS, USER, AuditDatabase, told

_MONTHS = list(months(datetime.now(UTC), 5))
_FIRST = f"{_MONTHS[0]:%Y-%m}"


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


@pytest.fixture
async def audit() -> AsyncIterator[AuditDatabase]:
    with crypto_database() as access:
        made = AuditDatabase(access)
        yield made
        for engine in made.engines:
            await engine.dispose()


async def _two_months(audit: AuditDatabase) -> None:
    """Write entries of two months by one writer, and by another of the first alone."""
    moments = [_micros(_MONTHS[0] + timedelta(days=3))]
    checkpointer = audit.checkpointer()
    async with audit.writer(lambda: moments[0]) as writer:
        async with audit.writer(lambda: moments[0]) as other:
            await writer.record([told()] * 20)
            await other.record([told()] * 5)
        await checkpointer.look()
        moments[0] = _micros(_MONTHS[1] + timedelta(days=3))
        await writer.record([told()] * 7)
    await checkpointer.look()


def _keep(audit: AuditDatabase, days: int) -> None:
    audit.tamper(
        f"UPDATE system_config SET config_value = '{days}' "  # noqa: S608 - a number of this test
        "WHERE config_key = 'audit_retention_days'"
    )


def _later() -> datetime:
    return _MONTHS[1] + timedelta(days=10)


async def test_a_segment_is_signed_kept_elsewhere_and_dropped_and_the_rest_still_verifies(
    audit: AuditDatabase, tmp_path: Path
) -> None:
    await _two_months(audit)
    _keep(audit, 5)
    anchors = FileAnchors(tmp_path)
    retention = audit.retention(_later, anchors)
    assert await retention.look() == ([_FIRST], [_FIRST])
    assert await retention.look() == ([], [])
    gone = 1 + 20 + 1 + 5 + 1
    report = await audit.report()
    assert report.is_whole, list(map(str, report.findings))
    assert report.removed == {_FIRST: gone}
    assert audit.count() == 7 + 1 + 2
    assert len(await anchors.notes("segments")) == 2
    dropped = audit.rows("SELECT details FROM encryption_audit WHERE operation = 'drop_segment'")
    assert dropped == [(f"segment {_FIRST} entries {gone}",)]
    await audit.checkpointer().look()
    assert (await audit.report()).is_whole


async def test_survivors_are_proved_and_tampering_with_them_is_found(audit: AuditDatabase) -> None:
    await _two_months(audit)
    _keep(audit, 5)
    await audit.retention(_later).look()
    audit.tamper("UPDATE encryption_audit SET purpose = 'none' WHERE seq = 22")
    report = await audit.report()
    assert [each.tampering for each in report.findings] == [Tampering.ENTRY_CHANGED]


async def test_what_is_kept_is_closed_and_stays(audit: AuditDatabase) -> None:
    await _two_months(audit)
    retention = audit.retention(_later)
    assert await retention.look() == ([_FIRST], [])
    report = await audit.report()
    assert report.is_whole
    assert report.removed == {}
    audit.tamper(f"DROP TABLE encryption_audit_p{_FIRST.replace('-', '')}")
    report = await audit.report()
    assert [each.tampering for each in report.findings] == [Tampering.SEGMENT_MISSING]
    assert "anchored, but no signed drop" in report.findings[0].words


async def test_a_segment_with_entries_that_are_not_sealed_is_not_closed(
    audit: AuditDatabase,
) -> None:
    await _two_months(audit)
    audit.tamper("DELETE FROM encryption_audit WHERE seq = 4")
    assert await audit.retention(_later).look() == ([], [])


class _NoPlace(FileAnchors):
    async def put(self, name: str, note: str) -> None:
        raise AnchorFailed(f"no place for {name} of {len(note)} signs")


async def test_nothing_is_dropped_that_was_not_kept_elsewhere(
    audit: AuditDatabase, tmp_path: Path
) -> None:
    await _two_months(audit)
    _keep(audit, 5)
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await audit.retention(_later, _NoPlace(tmp_path)).look()
    assert audit.rows("SELECT count(*) FROM encryption_audit WHERE seq = 4")[0][0] == 2


async def test_parts_of_coming_months_are_made_with_their_rights(audit: AuditDatabase) -> None:
    await audit.retention(lambda: _MONTHS[2]).look()
    far = _micros(_MONTHS[4] + timedelta(days=1))
    async with audit.writer(lambda: far) as writer:
        await writer.record([told()])
    assert audit.count() == 3


async def test_checkpoints_are_kept_elsewhere_once_and_tell_of_a_rollback(
    audit: AuditDatabase, tmp_path: Path
) -> None:
    anchors = FileAnchors(tmp_path)
    anchoring = Anchoring(audit.owner(), anchors)
    assert await anchoring.look() == 0
    async with audit.writer() as writer:
        await writer.record([told()] * 3)
    await audit.checkpointer().look()
    assert await anchoring.look() == 5
    assert await anchoring.look() == 0
    assert await Anchoring(audit.owner(), anchors).look() == 5
    kept = await anchors.notes("checkpoints")
    assert len(kept) == 1
    assert (await audit.report(kept)).anchors == 1
    audit.tamper(
        "DELETE FROM encryption_audit",
        "DELETE FROM audit_runs",
        "DELETE FROM audit_checkpoints",
    )
    report = await audit.report(kept)
    assert [each.tampering for each in report.findings] == [Tampering.STORE_ROLLED_BACK]


async def _alerts(audit: AuditDatabase) -> list[tuple[str, str, str]]:
    await audit.checkpointer().look()
    return [
        (row[0], row[1], row[2])
        for row in audit.rows(
            "SELECT principal, error_code, details FROM encryption_audit "
            "WHERE operation = 'raise_alert' ORDER BY accessed_at, principal"
        )
    ]


async def test_failed_decryptions_raise_one_alert_at_the_limit(audit: AuditDatabase) -> None:
    failed = told(success=False, error_code="VALUE_UNOPENABLE")
    async with audit.writer() as writer, audit.writer() as other:
        await writer.record([failed] * 2)
        await other.record([failed] * 2)
        await other.record([failed._replace(principal="bob")] * 4 + [told(principal="bob")] * 9)
        await other.record([failed._replace(tenant="beta")] * 3)
        assert await _alerts(audit) == []
        await writer.record([failed])
        expected = [("ann", "FAILED_DECRYPTIONS", "times 5")]
        assert await _alerts(audit) == expected
        await writer.record([failed] * 5)
        assert await _alerts(audit) == expected
    report = await audit.report()
    assert report.is_whole, list(map(str, report.findings))


async def test_a_tenant_has_its_own_limit(audit: AuditDatabase) -> None:
    audit.tamper("INSERT INTO system_config VALUES ('acme', 'max_failed_decryption_attempts', '2')")
    async with audit.writer() as writer:
        await writer.record([told(success=False)] * 2)
    assert await _alerts(audit) == [("ann", "FAILED_DECRYPTIONS", "times 2")]


async def test_touching_a_honeytoken_raises_an_alert(audit: AuditDatabase) -> None:
    audit.rows(
        "INSERT INTO honeytokens (tenant_id, subject) VALUES ('acme', %s) RETURNING 1",
        SUBJECTS.of("acme", USER),
    )
    async with audit.writer() as writer:
        await writer.record(
            [told(user_id=bytes(16)), told("beta"), told(operation=Operation.CREATE)]
        )
        assert await _alerts(audit) == []
        await writer.record([told(principal="eve")])
    assert await _alerts(audit) == [("eve", "HONEYTOKEN_TOUCHED", "times 1")]
    ((subject,),) = audit.rows(
        "SELECT subject FROM encryption_audit WHERE operation = 'raise_alert'"
    )
    assert subject == SUBJECTS.of("acme", USER)


async def test_rows_written_past_the_service_are_in_the_audit(audit: AuditDatabase) -> None:
    user = new_uuid()
    with psycopg.connect(audit.access.application) as connection:
        connection.execute("SELECT set_config('secmesh.tenant', 'acme', false)")
        connection.execute("INSERT INTO users (tenant_id, id) VALUES ('acme', %s)", (user,))
        connection.execute("UPDATE users SET phone = '+4930123' WHERE id = %s", (user,))
        connection.execute("DELETE FROM users WHERE id = %s", (user,))
    checkpointer = audit.checkpointer()
    for _ in range(3):
        await checkpointer.look()
    rows = audit.rows(
        "SELECT principal, details, subject FROM encryption_audit "
        "WHERE operation = 'write_row' ORDER BY seq"
    )
    assert [row[1].split()[:2] for row in rows] == [
        ["insert", "-"],
        ["update", "phone"],
        ["delete", "-"],
    ]
    assert {row[0] for row in rows} == {"secmesh_application"}
    assert {row[2] for row in rows} == {SUBJECTS.of("acme", UUID(user).bytes)}
    assert "+4930123" not in str(rows)
    assert (await audit.report()).is_whole
    left = audit.rows("SELECT count(*) FROM users_change_log WHERE folded_at IS NULL")
    assert left == [(0,)]


async def test_a_fold_that_failed_is_done_again_and_once(
    audit: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(audit.access.application) as connection:
        connection.execute("SELECT set_config('secmesh.tenant', 'acme', false)")
        connection.execute("INSERT INTO users (tenant_id, id) VALUES ('acme', %s)", (new_uuid(),))
    checkpointer = audit.checkpointer()
    append = checkpointer._chain.append

    async def failing(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        await append(connection, entries)
        raise DependencyUnavailable("store")

    with monkeypatch.context() as patched:
        patched.setattr(checkpointer._chain, "append", failing)
        with pytest.raises(DependencyUnavailable):
            await checkpointer.look()
    for _ in range(3):
        await checkpointer.look()
    assert audit.rows("SELECT count(*) FROM encryption_audit WHERE operation = 'write_row'") == [
        (1,)
    ]
    assert (await audit.report()).is_whole
