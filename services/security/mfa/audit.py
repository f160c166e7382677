"""Entries in the audit log of identities, written with the act itself."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import collection_of, tenant_of
from mesh.records.moments import Clock
from secmesh.security.v1.iam_audit_log_pb2 import IamActivity, IamAuditLog
from secmesh.security.v1.vocabulary_operation_pb2 import OUTCOME_FAILURE, OUTCOME_SUCCESS
from services.security.mfa.records import MfaRecords

_LOGS = "iam_audit_logs"


@dataclass(frozen=True)
class Act:
    """One thing that was done to a second factor, or tried."""

    activity: "IamActivity.ValueType"
    operation: str
    """Such as ``mfa.verify``."""
    target: str
    """Name of the record that it was done to."""
    done: bool = True
    detail: str = ""
    source_ip: str = ""
    before: str = ""
    """Name of the status before, where it changed."""
    after: str = ""


class AuditLog:
    """Adds entries within transactions of the caller."""

    def __init__(self, records: MfaRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def add(self, connection: AsyncConnection, act: Act) -> None:
        """Add an entry; who did it is told by ``AuditGuard``."""
        log = IamAuditLog(
            activity=act.activity,
            operation=act.operation,
            target_type=collection_of(act.target) or "",
            target_id=act.target.rpartition("/")[2],
            outcome=OUTCOME_SUCCESS if act.done else OUTCOME_FAILURE,
        )
        log.event_time.FromMicroseconds(self._clock())
        if act.detail:
            log.status_detail = act.detail
        if act.source_ip:
            log.source_ip = act.source_ip
        if act.before:
            log.before_state.update({"status": act.before})
        if act.after:
            log.after_state.update({"status": act.after})
        await self._records.add(connection, tenant_of(act.target) or "", _LOGS, log)
