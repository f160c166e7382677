"""Judges projects by their gates, and keeps what was judged."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.errors import FieldInvalid
from mesh.records.moments import Clock, now
from mesh.records.writing import RecordWriter
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from secmesh.security.v1 import quality_gate_service_pb2 as pb
from secmesh.security.v1.sast_quality_gate_pb2 import QualityGateStatus
from secmesh.security.v1.vocabulary_detection_pb2 import EnforcementMode
from services.security.errors import ScanNotCurrent
from services.security.findings.due import set_moment
from services.security.findings.machine import finding_machines
from services.security.gates.measure_store import Measures
from services.security.gates.metrics import Facts, NotMeasured, value_of
from services.security.gates.new_code import NewCode
from services.security.gates.subject_store import Subject, Subjects
from services.security.gates.verdict import judge, status_of

DEFAULT_BRANCH = "main"
_SCANS, _PROJECTS = "sast_scans", "sast_projects"
_STATUS = "quality_gate_status"
_GRADES = {
    "lines_of_code": "ncloc",
    "security_rating": "security_rating",
    "reliability_rating": "reliability_rating",
    "maintainability_rating": "sqale_rating",
}
"""Fields of a project, with the metric that each holds."""


@dataclass(frozen=True)
class _Judged:
    """What was read and decided, from one snapshot."""

    answer: pb.EvaluateGateResponse
    kept: Mapping[str, Mapping[str, int]]
    """Fields to be written, by the record's name."""


class Gates:
    """Evaluates gates."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock = now) -> None:
        self._store = store
        self._clock = clock
        self._subjects = Subjects(store)
        self._measures = Measures(store, finding_machines(catalogue))
        self._new_code = NewCode(store)
        self._rows = Rows(store)
        self._writer = RecordWriter(store, catalogue.record_kinds, clock)

    async def evaluate(self, request: pb.EvaluateGateRequest) -> pb.EvaluateGateResponse:
        """Judge a project; ResourceNotFound, QualityGateUndecided, ScanNotCurrent, FieldInvalid."""
        async with self._store.connection() as connection:
            judged = await self._judge(connection, request)
        if not request.validate_only:
            async with self._store.transaction() as connection:
                for name, values in judged.kept.items():
                    await self._keep(connection, name, values)
        return judged.answer

    async def _judge(self, connection: AsyncConnection, request: pb.EvaluateGateRequest) -> _Judged:
        subject = await self._subjects.project(connection, request.project)
        main = str(subject.row.get("main_branch") or DEFAULT_BRANCH)
        branch = await self._branch(connection, request, subject) or main
        gate = await self._subjects.gate(connection, subject, request.project)
        body = gate.sast_quality_gate
        code = [subject.code] if subject.code else []
        scans = await self._subjects.scans(connection, _SCANS, subject.tenant, code, branch)
        names = [f"tenants/{subject.tenant}/{_SCANS}/{scan.id}" for scan in scans]
        if request.scan and request.scan not in names:
            raise ScanNotCurrent(request.scan)
        answer = pb.EvaluateGateResponse(
            project=request.project,
            gate=gate.name,
            branch=branch,
            scans=names,
            enforcement=body.enforcement,
            status=QualityGateStatus.QUALITY_GATE_STATUS_NONE,
        )
        moment = self._clock()
        set_moment(answer, "evaluate_time", moment)
        grades: Mapping[str, int] = {}
        if body.enforcement != EnforcementMode.ENFORCEMENT_MODE_OFF:
            period = await self._new_code.period(connection, subject, branch, moment)
            facts = await self._measures.facts(connection, subject, branch, scans, period)
            _tell(answer, judge(body, facts))
            grades = _grades(facts)
        kept: dict[str, Mapping[str, int]] = {}
        for name in [request.scan] if request.scan else names[:1]:
            kept[name] = {_STATUS: answer.status}
        if subject.code and branch == main:
            project = f"tenants/{subject.tenant}/{_PROJECTS}/{subject.code}"
            kept[project] = {_STATUS: answer.status, **grades}
        return _Judged(answer, kept)

    async def _branch(
        self, connection: AsyncConnection, request: pb.EvaluateGateRequest, subject: Subject
    ) -> str:
        """Give the branch that is asked for, empty if none is."""
        if not request.scan:
            return request.branch
        scan: Any = await self._store.get(_SCANS, request.scan, connection=connection)
        body = scan.sast_scan
        if body.project_id != f"tenants/{subject.tenant}/{_PROJECTS}/{subject.code}":
            raise FieldInvalid.of("scan", "is of another project", "PARENT_MISMATCH")
        if request.branch not in ("", body.branch):
            raise FieldInvalid.of("branch", f"the scan is of {body.branch!r}", "BRANCH_MISMATCH")
        return str(body.branch)

    async def _keep(
        self, connection: AsyncConnection, name: str, values: Mapping[str, int]
    ) -> None:
        """Write what is another than before; a record that is gone meanwhile has no status."""
        target = self._store.target(name.split("/")[2])
        old: Any = await self._rows.find(connection, target, name)
        if old is None:
            return
        new = type(old)()
        new.CopyFrom(old)
        for field, value in values.items():
            setattr(getattr(new, target.kind.body_field or ""), field, value)
        if new != old:
            await self._rows.replace(connection, target, new, self._writer.stamp(target.kind, new))


def _tell(answer: pb.EvaluateGateResponse, results: Sequence[pb.ConditionResult]) -> None:
    answer.conditions.extend(results)
    answer.status = status_of(results)
    passed = answer.status == QualityGateStatus.QUALITY_GATE_STATUS_OK
    answer.blocking = not passed and answer.enforcement == EnforcementMode.ENFORCEMENT_MODE_BLOCK


def _grades(facts: Facts) -> Mapping[str, int]:
    """Give what a project says of itself as far as it could be measured."""
    known = {}
    for field, metric in _GRADES.items():
        with contextlib.suppress(NotMeasured):
            known[field] = int(value_of(metric, facts, new=False))
    return known
