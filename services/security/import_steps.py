"""Steps that a report makes findings take: through their declared life, and into their history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Kind
from mesh.contract.names import collection_of
from services.security.findings.life import Actor, FindingLife
from services.security.findings.machine import RESOLUTION, Step
from services.security.import_state import LIVES, Life, Move, Way

IMPORT = Actor("import")
_SAYS = {
    Way.CLOSED: "No longer in the report, or mended by its own word",
    Way.REOPENED: "In the report again",
    Way.SILENCED: "Silenced where it was found",
}


@dataclass(frozen=True)
class ImportSteps:
    """Takes the steps of the findings of one report, which is known by its SHA-256."""

    life: FindingLife
    kinds: Mapping[str, Kind]
    report_sha256: str

    async def found(self, connection: AsyncConnection, records: Mapping[str, Any]) -> None:
        """Begin the histories of findings of one kind that the report was the first to show.

        ``records`` are, by name, as the report gave them.
        """
        by_scan: dict[str, list[tuple[str, int]]] = {}
        for name, record in records.items():
            status = getattr(record, record.WhichOneof("body")).status
            by_scan.setdefault(_scan(record), []).append((name, status))
        for scan, shown in by_scan.items():
            reason = self._reason("First seen", scan)
            await self.life.note_found(connection, shown, reason, IMPORT)

    async def begin(
        self, connection: AsyncConnection, found: Sequence[tuple[str, int]], scan: str
    ) -> None:
        """Begin the histories of findings of one scan that were just stored under ids of their own.

        ``found`` are their names, and the numbers of their statuses.
        """
        reason = self._reason("First seen", scan)
        await self.life.note_found(connection, found, reason, IMPORT, own_ids=True)

    async def take(
        self, connection: AsyncConnection, moves: Mapping[str, Move], scan: str = ""
    ) -> list[str]:
        """Move findings of one kind, by name, that no person decided on meanwhile.

        ``scan`` is where the step was seen; if empty, the one that the finding was last seen by.
        """
        names = list(moves)
        if not names:
            return []
        kind = self.kinds[collection_of(names[0]) or ""]
        life = LIVES[kind.collection]

        def step_of(record: Any) -> Step | None:
            body, move = getattr(record, kind.body_field or ""), moves[record.name]
            if not _may(life, body, move.way):
                return None
            return self._step(kind, move, scan or _scan(record))

        return await self.life.move_all(connection, names, step_of, IMPORT)

    def _step(self, kind: Kind, move: Move, scan: str) -> Step:
        machine, fields = self.life.machines[kind.collection], kind.descriptor.fields_by_name
        state = machine.state(move.status)
        resolution = fields[RESOLUTION].enum_type if move.resolution else None
        return Step(
            state.name if state is not None else "",
            self._reason(_SAYS[move.way], scan),
            resolution=resolution.values_by_number[move.resolution].name if resolution else "",
        )

    def _reason(self, what: str, scan: str) -> str:
        seen_by = f", {scan}" if scan else ""
        return f"{what}: report {self.report_sha256}{seen_by}."


def _may(life: Life, body: Any, way: Way) -> bool:
    return life.is_closed(body) if way is Way.REOPENED else life.is_open(body)


def _scan(record: Any) -> str:
    body = getattr(record, record.WhichOneof("body"))
    return str(body.scan_id) if "scan_id" in body.DESCRIPTOR.fields_by_name else ""
