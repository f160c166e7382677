"""What a report only sees again is told of its groups: of each finding nothing is written."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.engine import Engine

from secmesh.records.v1.record_requests_pb2 import (
    GetRecordRequest,
    ListRecordsRequest,
)
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1 import finding_service_pb2, sast_issue_pb2
from secmesh.security.v1.import_service_pb2 import ImportReportResponse
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from tests.databases import open_sync_engine
from tests.service.import_world import Imports, counts, issue, sarif
from tests.unit.test_importing_formats import ALERT, zap

MANY = tuple(issue(f"seen/{number}", path=f"{number}.js") for number in range(6))
CONFIRMED = "SAST_ISSUE_STATUS_CONFIRMED"


@pytest.fixture(scope="module")
def owner(imports: Imports) -> Iterator[Engine]:
    """The tables as their owner sees them."""
    engine = open_sync_engine(imports.world.access.owner)
    yield engine
    engine.dispose()


def by_path(imports: Imports, answer: ImportReportResponse) -> dict[str, Any]:
    return {each.sast_issue.file_path: each for each in imports.issue_records(answer)}


def written(owner: Engine, record: Any) -> tuple[Any, ...]:
    """Give the version of a row, and how many changes of it were announced."""
    key = {"id": record.name.rpartition("/")[2]}
    row = sa.text("SELECT xmin::text, ctid::text FROM sast_issues WHERE id = :id")
    changes = sa.text("SELECT count(*) FROM record_changes WHERE record_id = :id")
    with owner.connect() as connection:
        return (*connection.execute(row, key).one(), connection.scalar(changes, key))


def now(owner: Engine) -> Timestamp:
    """Give the database's own time."""
    stamp = Timestamp()
    with owner.connect() as connection:
        stamp.FromDatetime(connection.scalar(sa.text("SELECT clock_timestamp()")))
    return stamp


def test_what_is_seen_again_is_not_written(imports: Imports, project: str, owner: Engine) -> None:
    first = imports.send(sarif(*MANY), project)
    before = by_path(imports, first)
    versions = {path: written(owner, each) for path, each in before.items()}
    second = imports.send(sarif(*MANY, properties={"n": 2}), project)
    assert counts(second, "sast_issues") == {"unchanged": 6}
    (scan,) = imports.scans(second)
    assert scan.unchanged_issues == 6
    after = by_path(imports, second)
    for path, record in after.items():
        old, new = before[path].sast_issue, record.sast_issue
        assert written(owner, record) == versions[path]
        assert len(imports.history(record.name)) == 1
        assert record.etag == before[path].etag
        assert (old.scan_id, new.scan_id) == (first.scans[0], second.scans[0])
        assert old.last_seen_time.ToNanoseconds() < new.last_seen_time.ToNanoseconds()
        assert new.first_scan_id == first.scans[0]
        assert new.first_seen_time == old.first_seen_time


def test_filters_and_orders_are_of_what_was_seen_last(imports: Imports, project: str) -> None:
    first = imports.send(sarif(*MANY), project)
    second = imports.send(sarif(*MANY[:4], properties={"n": 2}), project, close_absent=False)

    def paths(condition: str, order: str = "file_path") -> list[str]:
        request = ListRecordsRequest(
            parent="tenants/acme/sast_issues",
            filter=f'project_id == "{imports.scans(first)[0].project_id}" && {condition}',
            order_by=order,
            page_size=2,
        )
        found: list[str] = []
        while True:
            page = imports.record_stub().ListRecords(request)
            found += [each.sast_issue.file_path for each in page.records]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    seen, gone = [f"{number}.js" for number in range(4)], ["4.js", "5.js"]
    assert paths(f'scan_id == "{second.scans[0]}"') == seen
    assert paths(f'scan_id == "{first.scans[0]}"') == gone
    assert paths(f'scan_id != "{first.scans[0]}"') == seen
    moment = imports.scans(second)[0]
    latest = by_path(imports, second)["0.js"].sast_issue.last_seen_time.ToJsonString()
    assert moment.unchanged_issues == 4
    assert paths(f'last_seen_time >= timestamp("{latest}")') == seen
    assert paths(f'last_seen_time < timestamp("{latest}")') == gone
    assert paths("true", "last_seen_time, file_path") == gone + seen
    assert paths("true", "last_seen_time desc, file_path") == seen + gone


def test_the_past_shows_what_was_seen_by_then(
    imports: Imports, project: str, owner: Engine
) -> None:
    answers, moments = [], []
    for number in range(3):
        answers.append(imports.send(sarif(*MANY[:2], properties={"n": number}), project))
        moments.append(now(owner))
    records = by_path(imports, answers[0])
    # One of them changes afterwards, and the feed tells what it was before.
    imports.findings.TransitionFinding(
        finding_service_pb2.TransitionFindingRequest(name=records["0.js"].name, status=CONFIRMED)
    )
    for record in records.values():
        for answer, moment in zip(answers, moments, strict=True):
            request = GetRecordRequest(name=record.name, read_time=moment)
            found: Any = imports.record_stub().GetRecord(request)
            assert found.sast_issue.scan_id == answer.scans[0]
            assert found.sast_issue.last_seen_time.ToNanoseconds() <= moment.ToNanoseconds()
        present = imports.record(record.name).sast_issue
        assert present.scan_id == answers[-1].scans[0]


def test_who_works_on_a_finding_keeps_what_saw_it_last(imports: Imports, project: str) -> None:
    first = imports.send(sarif(*MANY[:3]), project)
    second = imports.send(sarif(*MANY[:3], properties={"n": 2}), project)
    record = by_path(imports, first)["0.js"]
    imports.findings.TransitionFinding(
        finding_service_pb2.TransitionFindingRequest(name=record.name, status=CONFIRMED)
    )
    assert imports.record(record.name).sast_issue.scan_id == second.scans[0]
    third = imports.send(sarif(*MANY[:3], properties={"n": 3}), project)
    assert counts(third, "sast_issues") == {"unchanged": 3}
    found = by_path(imports, third)
    assert {each.sast_issue.scan_id for each in found.values()} == {third.scans[0]}
    status = sast_issue_pb2.SAST_ISSUE_STATUS_CONFIRMED
    assert found["0.js"].sast_issue.status == status
    fourth = imports.send(sarif(*MANY[1:3], properties={"n": 4}), project)
    assert counts(fourth, "sast_issues") == {"unchanged": 2, "closed": 1}


def test_what_a_person_wrote_over_is_written_back(imports: Imports, project: str) -> None:
    """A result is told by its digest only while its finding is as the report made it."""
    first = imports.send(sarif(*MANY[:2]), project)
    record = by_path(imports, first)["1.js"]
    changed = Record(name=record.name)
    changed.sast_issue.message = "not what the report says"
    update = UpdateRecordRequest(
        record=changed, update_mask=FieldMask(paths=["sast_issue.message"])
    )
    imports.record_stub().UpdateRecord(update)
    second = imports.send(sarif(*MANY[:2], properties={"n": 2}), project)
    assert counts(second, "sast_issues") == {"unchanged": 1, "updated": 1}
    assert by_path(imports, second)["1.js"].sast_issue.message == record.sast_issue.message


def test_a_writers_own_word_of_when_it_was_seen_counts(imports: Imports, project: str) -> None:
    first = imports.send(sarif(*MANY[:2]), project)
    imports.send(sarif(*MANY[:2], properties={"n": 2}), project)
    record = by_path(imports, first)["0.js"]
    changed = Record(name=record.name)
    changed.sast_issue.last_seen_time.FromJsonString("2020-01-01T00:00:00Z")
    paths = FieldMask(paths=["sast_issue.last_seen_time", "sast_issue.scan_id"])
    imports.record_stub().UpdateRecord(UpdateRecordRequest(record=changed, update_mask=paths))
    found = imports.record(record.name).sast_issue
    assert (found.last_seen_time.seconds, found.scan_id) == (1_577_836_800, "")


def test_scans_that_are_deleted_leave_the_time(imports: Imports, project: str) -> None:
    imports.send(sarif(*MANY[:2]), project)
    second = imports.send(sarif(*MANY[:2], properties={"n": 2}), project)
    before = by_path(imports, second)["0.js"]
    name = before.name
    imports.record_stub().DeleteRecord(DeleteRecordRequest(name=second.scans[0]))
    found = imports.record(name).sast_issue
    assert (found.scan_id, found.last_seen_time) == ("", before.sast_issue.last_seen_time)
    unknown = imports.records("sast_issues", f'!(scan_id == "{second.scans[0]}")')
    assert name not in [each.name for each in unknown]


def test_equal_results_keep_their_order(imports: Imports, project: str) -> None:
    """The second of two equal ones is told apart, whatever of them is recalled."""
    one, other = issue("same/rule"), issue("same/rule", properties={"note": "read anew"})
    imports.send(sarif(one, one, issue("same/other")), project)
    second = imports.send(sarif(one, one, properties={"n": 2}), project)
    assert counts(second, "sast_issues") == {"unchanged": 2, "closed": 1}
    third = imports.send(sarif(other, one, properties={"n": 3}), project)
    assert counts(third, "sast_issues") == {"unchanged": 2}
    fourth = imports.send(sarif(one, one, one, properties={"n": 4}), project)
    assert counts(fourth, "sast_issues") == {"unchanged": 2, "created": 1}


def test_runs_of_one_scope_are_seen_again_together(imports: Imports, project: str) -> None:
    def both(number: int) -> dict[str, Any]:
        first, second = (
            sarif(issue(f"run/{run}", path=f"{run}.js"), properties={"n": number})
            for run in range(2)
        )
        return first | {"runs": first["runs"] + second["runs"]}

    imports.send(both(1), project)
    answer = imports.send(both(2), project)
    assert counts(answer, "sast_issues") == {"unchanged": 2}
    assert {each.scan_id for each in imports.issues(answer)} == set(answer.scans)


def test_other_rules_make_other_findings_of_the_same_results(
    imports: Imports, project: str
) -> None:
    def rated(score: str, number: int) -> dict[str, Any]:
        rule = {"id": "rated", "properties": {"security-severity": score}}
        tool = {"driver": {"name": "Rater", "rules": [rule]}}
        return sarif(issue("rated"), tool=tool, properties={"n": number})

    imports.send(rated("2.0", 1), project)
    answer = imports.send(rated("9.5", 2), project)
    assert counts(answer, "sast_issues") == {"updated": 1}
    (found,) = imports.issues(answer)
    assert found.security_severity == 9.5


def test_formats_without_digests_are_not_written_either(
    imports: Imports, project: str, owner: Engine
) -> None:
    imports.send(zap(ALERT), project)
    records = imports.records("dast_vulnerabilities")
    known = {each.name: each for each in records}
    row = sa.text("SELECT id, xmin::text FROM dast_vulnerabilities ORDER BY id")
    with owner.connect() as connection:
        before = connection.execute(row).all()
    again = imports.send(zap(ALERT) | {"@generated": "later"}, project)
    assert set(counts(again, "dast_vulnerabilities")) == {"unchanged"}
    with owner.connect() as connection:
        assert connection.execute(row).all() == before
    moved = [
        each
        for each in imports.records("dast_vulnerabilities")
        if each.dast_vulnerability.scan_id == again.scans[0]
    ]
    assert moved
    for each in moved:
        old = known[each.name].dast_vulnerability
        assert (
            each.dast_vulnerability.last_seen_time.ToNanoseconds()
            > old.last_seen_time.ToNanoseconds()
        )
