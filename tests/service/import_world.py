"""The ImportService of a served database, and reports small enough to read in a test."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody

from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.security.v1 import (
    finding_service_pb2,
    finding_service_pb2_grpc,
    import_service_pb2_grpc,
)
from secmesh.security.v1.import_service_pb2 import ImportReportRequest, ImportReportResponse
from tests.databases import security_database
from tests.service.security_world import World, served
from tests.unit.test_importing_sarif import report, result

IMPORTED = ImportReportResponse.OUTCOME_IMPORTED
UNCHANGED = ImportReportResponse.OUTCOME_UNCHANGED
PART = 65_536


@dataclass
class Imports:
    """Reports sent by ann, an operator, and what became of them as an admin reads it."""

    world: World

    def stub(self, tenant: str = "acme", role: str = "operator") -> Any:
        return self.world.stub_of(tenant, import_service_pb2_grpc.ImportServiceStub, role)

    @property
    def findings(self) -> Any:
        """The FindingService."""
        return self.world.stub_of("acme", finding_service_pb2_grpc.FindingServiceStub, "admin")

    def send(
        self, content: object, project: str, *, tenant: str = "acme", **said: Any
    ) -> ImportReportResponse:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        first = ImportReportRequest(parent=f"tenants/{tenant}", project=project, **said)
        first.file.data = data[:PART]
        rest = [
            ImportReportRequest(file=HttpBody(data=data[start : start + PART]))
            for start in range(PART, len(data), PART)
        ]
        answer: ImportReportResponse = self.stub(tenant).ImportReport(iter([first, *rest]))
        return answer

    def records(self, collection: str, filter_: str = "", tenant: str = "acme") -> list[Any]:
        """All records of a collection, whatever other tests wrote: filter by what is your own."""
        stub = self.record_stub(tenant)
        request = ListRecordsRequest(
            parent=f"tenants/{tenant}/{collection}", filter=filter_, page_size=1000
        )
        found: list[Any] = []
        while True:
            page = stub.ListRecords(request)
            found += page.records
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def record(self, name: str) -> Any:
        return self.record_stub(name.split("/")[1]).GetRecord(GetRecordRequest(name=name))

    def scans(self, answer: ImportReportResponse) -> list[Any]:
        """The bodies of the scans that a report told of."""
        found = [self.record(name) for name in answer.scans]
        return [getattr(each, each.WhichOneof("body")) for each in found]

    def issue_records(self, answer: ImportReportResponse) -> list[Any]:
        """The records of issues of the project that a report was about."""
        project = self.scans(answer)[0].project_id
        return self.records("sast_issues", f'project_id == "{project}"')

    def issues(self, answer: ImportReportResponse) -> list[Any]:
        """The issues of the project that a report was about."""
        return [each.sast_issue for each in self.issue_records(answer)]

    def history(self, name: str) -> list[Any]:
        """The steps of a finding, oldest first."""
        request = finding_service_pb2.ListFindingHistoryRequest(parent=name)
        return list(self.findings.ListFindingHistory(request).events)

    def record_stub(self, tenant: str = "acme") -> Any:
        """The RecordService, called by an admin."""
        return self.world.records_of(tenant)


@pytest.fixture(scope="session")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imports]:
    """One service for all tests of imports: each has a project of its own."""
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as world,
    ):
        yield Imports(world)


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project that no other test knows."""
    return f"web {request.node.name}"


def counts(answer: ImportReportResponse, collection: str) -> dict[str, int]:
    for each in answer.counts:
        if each.collection == collection:
            return {f.name: v for f, v in each.ListFields() if f.name != "collection"}
    return {}


def issue(rule: str = "js/xss", path: str = "a.js", **members: object) -> dict[str, object]:
    place = {"physicalLocation": {"artifactLocation": {"uri": path}, "region": {"startLine": 3}}}
    return result(ruleId=rule, locations=[place], **members)


def sarif(*results: object, **run: object) -> dict[str, Any]:
    return report(*results, **run)
