"""Raises an alert after too many failed decryptions, and on any access to a honeytoken.

The checkpointer asks, of the entries that it seals: so the count is one over all processes, and an
alert is an entry of the audit itself.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.audit.chain import entry_of
from services.crypto.audit.entry import Access, Entry, Operation
from services.crypto.audit.sealing import Stored

WINDOW_SECONDS = 900
"""Failures that lie apart by more are not counted together; nothing is told twice within it."""
FAILED_DECRYPTIONS, HONEYTOKEN = "FAILED_DECRYPTIONS", "HONEYTOKEN_TOUCHED"
_LOG = logging.getLogger(__name__)
_ALERTS = metrics.get_meter("secmesh.crypto").create_counter(
    "secmesh.crypto.audit.alerts", description="alerts that were raised, by reason"
)
_TOUCHING = frozenset(
    {
        Operation.READ,
        Operation.DECRYPT,
        Operation.EXPORT,
        Operation.SEARCH,
        Operation.UPDATE,
        Operation.DELETE,
    }
)
_FAILURES = sa.text(
    """SELECT count(*), coalesce(
    (SELECT config_value::int FROM system_config
        WHERE config_key = 'max_failed_decryption_attempts' AND tenant_id IN (:tenant, '-')
        ORDER BY tenant_id = '-' LIMIT 1), 5)
FROM encryption_audit WHERE tenant_id = :tenant AND operation = 'decrypt' AND NOT success
    AND principal = :principal AND accessed_at > now() - make_interval(secs => :window)"""
)
_TOLD = sa.text(
    """SELECT EXISTS (SELECT 1 FROM encryption_audit WHERE tenant_id = :tenant
    AND operation = 'raise_alert' AND principal = :principal AND error_code = :reason
    AND subject = :subject AND accessed_at > now() - make_interval(secs => :window))"""
)
_HONEYTOKENS = sa.text("SELECT tenant_id, subject FROM honeytokens WHERE tenant_id = ANY(:tenants)")


class Alert(NamedTuple):
    """Why somebody should look."""

    tenant: str
    principal: str
    reason: str
    subject: bytes = b""
    times: int = 1

    def entry(self, moment: int) -> Entry:
        """Give what the audit keeps of it."""
        access = Access(
            self.tenant,
            Operation.RAISE_ALERT,
            self.principal,
            "",
            error_code=self.reason,
            details=f"times {self.times}",
        )
        return entry_of(access, self.subject, moment)

    def tell(self) -> None:
        """Log and count it."""
        _LOG.warning(
            "alert %s: %s of tenant %s, %d times",
            self.reason,
            self.principal,
            self.tenant,
            self.times,
        )
        _ALERTS.add(1, {"reason": self.reason})


def count_from_nothing() -> None:
    """Tell of every reason that there was none yet: the first alert is an increase then."""
    for reason in (FAILED_DECRYPTIONS, HONEYTOKEN):
        _ALERTS.add(0, {"reason": reason})


async def alerts_of(connection: AsyncConnection, sealed: Sequence[Stored]) -> list[Alert]:
    """Give the alerts that entries raise and that were not raised before."""
    entries = [stored.entry for stored in sealed]
    raised = [*await _failures(connection, entries), *await _touched(connection, entries)]
    return [each for each in raised if not await _is_told(connection, each)]


async def _failures(connection: AsyncConnection, entries: Iterable[Entry]) -> list[Alert]:
    failing = {
        (entry.tenant_id, entry.principal)
        for entry in entries
        if entry.operation == Operation.DECRYPT and not entry.success
    }
    raised = []
    for tenant, principal in sorted(failing):
        asked = {"tenant": tenant, "principal": principal, "window": WINDOW_SECONDS}
        count, most = (await connection.execute(_FAILURES, asked)).one()
        if count >= most:
            raised.append(Alert(tenant, principal, FAILED_DECRYPTIONS, times=count))
    return raised


async def _touched(connection: AsyncConnection, entries: Iterable[Entry]) -> list[Alert]:
    touching = {
        (entry.tenant_id, entry.subject, entry.principal)
        for entry in entries
        if entry.subject and entry.operation in _TOUCHING
    }
    if not touching:
        return []
    asked = {"tenants": sorted({tenant for tenant, _, _ in touching})}
    rows = await connection.execute(_HONEYTOKENS, asked)
    honeytokens = {(tenant, bytes(subject)) for tenant, subject in rows}
    return [
        Alert(tenant, principal, HONEYTOKEN, subject)
        for tenant, subject, principal in sorted(touching)
        if (tenant, subject) in honeytokens
    ]


async def _is_told(connection: AsyncConnection, alert: Alert) -> bool:
    asked = {**alert._asdict(), "window": WINDOW_SECONDS}
    del asked["times"]
    return bool(await connection.scalar(_TOLD, asked))
