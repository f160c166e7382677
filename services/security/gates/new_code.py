"""Where new code of a project begins, by its settings (terms of SonarQube)."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.storage import MICROSECONDS
from mesh.sql.references import ID
from mesh.sql.store import Store
from secmesh.security.v1.sast_settings_pb2 import NewCodePeriod
from secmesh.security.v1.vocabulary_pb2 import ScanStatus
from services.security.gates.subject_store import Subject

_SCANS, _CREATED = "sast_scans", "create_time"
_DAY = 86_400 * MICROSECONDS


@dataclass(frozen=True)
class Period:
    """Where new code begins."""

    since: int | None = None
    """Microseconds since 1970; None if it begins with the last scans."""
    problem: str = ""


class NewCode:
    """Reads settings, and the versions that scans tell of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._columns = store.target(_SCANS).table.c

    async def period(
        self, connection: AsyncConnection, subject: Subject, branch: str, moment: int
    ) -> Period:
        """Give where new code of a branch begins; ``moment`` is now."""
        kind, text = subject.row.get("new_code_period"), subject.row.get("new_code_value") or ""
        if not kind:
            return Period()
        if kind == NewCodePeriod.NEW_CODE_PERIOD_PREVIOUS_VERSION:
            return await self._since_version(connection, subject, branch)
        if kind != NewCodePeriod.NEW_CODE_PERIOD_NUMBER_OF_DAYS:
            name = NewCodePeriod.Name(kind)
            return Period(problem=f"what is new since {name} cannot be told by records")
        if not text.isascii() or not text.isdigit():
            return Period(problem=f"{text[:64]!r} is no number of days for new code")
        return Period(since=max(0, moment - int(text[:9]) * _DAY))

    async def _since_version(
        self, connection: AsyncConnection, subject: Subject, branch: str
    ) -> Period:
        """Begin after the last complete scan of the version before the present one."""
        last = await self._last(connection, subject, branch)
        if last is None or not last[0]:
            return Period(problem="the last complete scan says no version of the project")
        before = await self._last(connection, subject, branch, without=last[0])
        if before is None:
            return Period(problem=f"no complete scan is of a version before {last[0]}")
        return Period(since=before[1] + 1)

    async def _last(
        self, connection: AsyncConnection, subject: Subject, branch: str, without: str = ""
    ) -> Any:
        """Give version and time of the last complete scan of a branch; None if there is none."""
        columns = self._columns
        found = self._store.select(_SCANS, subject.tenant, ["project_version", _CREATED]).where(
            columns.project_id == subject.code,
            columns.branch == branch,
            columns.status == ScanStatus.SCAN_STATUS_COMPLETED,
        )
        if without:
            # Scans that say no version are of the one that was said before.
            found = found.where(columns.project_version.not_in(["", without]))
        order = (columns[_CREATED].desc(), columns[ID].desc())
        rows = await self._store.fetch(found.order_by(*order).limit(1), connection)
        return tuple(rows[0]) if rows else None
