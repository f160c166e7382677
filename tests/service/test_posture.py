"""Frameworks rolled up over one real server: planted judgements, exact counts, records kept."""

from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import posture_service_pb2 as pb
from secmesh.security.v1.posture_service_pb2_grpc import PostureServiceStub
from secmesh.security.v1.security_compliance_pb2 import ComplianceStatus
from secmesh.security.v1.vocabulary_pb2 import Severity
from tests.service.planted import Plants
from tests.service.security_world import World, refused

TENANT = "postured"
CONTROLS = ["ac-1", "ac-2", "ac-3", "ia-1", "ia-2", "sc-1", "sc-2"]


class Site(Plants):
    """A served database with frameworks, and judgements of their controls."""

    def framework(self, *controls: str, code: str = "") -> str:
        listed = [
            {"control_id": each, "label": each.upper(), "title": each, "group": each[:2]}
            for each in controls
        ]
        return self.plant(
            "compliance_frameworks", code=code or new_uuid(), version="5.2", controls=listed
        )

    def assess(self, framework: str, end: str, verdicts: dict[str, str], **values: Any) -> str:
        findings = [
            {"target_id": target, "state": f"TARGET_STATE_{state}"}
            for target, state in verdicts.items()
        ]
        chosen = {"status": "ASSESSMENT_STATUS_COMPLETED", **values}
        return self.plant(
            "compliance_assessments",
            framework_id=framework,
            findings=findings,
            end_time=f"{end}T00:00:00Z",
            **chosen,
        )

    def judge(self, framework: str, requirement: str, status: str, **values: Any) -> None:
        chosen = {"status": f"COMPLIANCE_STATUS_{status}", **values}
        names = {"framework_id": framework, "requirement_id": requirement}
        self.plant("security_compliance", **names, **chosen)

    def wrong(self, account: str, framework: str, requirement: str, **values: Any) -> str:
        chosen = {
            "severity": "SEVERITY_HIGH",
            "status": "FINDING_STATUS_OPEN",
            "check_status": "CHECK_STATUS_FAIL",
            "is_muted": False,
            **values,
        }
        required = [{"framework": framework, "requirement_ids": [requirement, "zz-9"]}]
        return self.plant(
            "misconfigurations", account_id=account, compliance_requirements=required, **chosen
        )

    @property
    def stub(self) -> Any:
        if not hasattr(self, "_stub"):
            self._stub = self.stub_of(PostureServiceStub, TENANT, "operator")
        return self._stub

    def roll_up(self, framework: str, **fields: Any) -> pb.FrameworkRollUp:
        request = pb.RollUpFrameworkRequest(framework=framework, **fields)
        answer: pb.FrameworkRollUp = self.stub.RollUpFramework(request)
        return answer

    def count(self, collection: str) -> int:
        request = ListRecordsRequest(parent=f"{self.parent}/{collection}", page_size=1000)
        return len(self.records.ListRecords(request).records)


@pytest.fixture(scope="module")
def site(analysis: World) -> Site:
    return Site(analysis, TENANT)


def test_all_judgements_come_to_one_status_of_each_control(site: Site) -> None:
    framework = site.framework(*CONTROLS, code="ALL")
    account = site.plant("cloud_accounts")
    site.assess(framework, "2026-01-01", {"ac-1": "NOT_SATISFIED"}, score=10)
    site.assess(
        framework,
        "2026-02-01",
        {
            "ac-1": "SATISFIED",
            "ac-2_smt.a": "SATISFIED",
            "ac-2_smt.b": "NOT_SATISFIED",
            "ac-3": "SATISFIED",
            "ia-1": "NOT_APPLICABLE",
            "ia-2": "UNKNOWN",
            "sc-1": "NOT_SATISFIED",
        },
        controls_total=7,
        controls_satisfied=3,
        controls_not_applicable=1,
    )
    site.assess(
        framework, "2026-03-01", {"ac-1": "NOT_SATISFIED"}, status="ASSESSMENT_STATUS_IN_PROGRESS"
    )
    site.judge(framework, "sc-1", "EXCEPTION")
    site.wrong(account, "all-5.2", "SC-2", severity="SEVERITY_CRITICAL")
    site.wrong(account, "ALL", "SC-2")
    for passed_over in (
        {"status": "FINDING_STATUS_RESOLVED"},
        {"status": "FINDING_STATUS_FALSE_POSITIVE"},
        {"is_muted": True},
        {"check_status": "CHECK_STATUS_MANUAL"},
    ):
        site.wrong(account, "ALL", "ac-1", **passed_over)
    site.wrong(account, "another", "ac-1")
    answer = site.roll_up(framework)
    counts = answer.counts
    assert (counts.total, counts.compliant, counts.partial, counts.non_compliant) == (7, 2, 1, 1)
    assert (counts.exception, counts.not_applicable, counts.not_assessed) == (1, 1, 1)
    assert counts.score == pytest.approx(100 * 2 / 6)
    assert [(each.family, each.counts.total) for each in answer.families] == [
        *(("ac", 3), ("ia", 2), ("sc", 2))
    ]
    assert answer.families[0].counts.score == pytest.approx(100 * 2 / 3)
    assert answer.families[2].counts.score == 0
    partial, failing = answer.failing
    assert (partial.control_id, partial.failed_verdicts) == ("ac-2", 1)
    assert partial.status == ComplianceStatus.COMPLIANCE_STATUS_PARTIAL
    assert (failing.control_id, failing.misconfigurations) == ("sc-2", 2)
    assert failing.worst_severity == Severity.SEVERITY_CRITICAL
    assert list(answer.unknown_requirement_ids) == ["zz-9"]
    assert [(each.time.ToJsonString(), each.score) for each in answer.history] == [
        ("2026-01-01T00:00:00Z", 10),
        ("2026-02-01T00:00:00Z", 50),
    ]
    assert answer.framework == framework
    assert not answer.records


def test_accounts_and_projects_are_looked_at_alone(site: Site) -> None:
    framework = site.framework("ac-1", "ac-2", "ac-3", code="SCOPED")
    one, two = site.plant("cloud_accounts"), site.plant("cloud_accounts")
    project = site.plant("projects")
    site.assess(framework, "2026-01-01", {"ac-1": "SATISFIED"}, cloud_account_id=one)
    site.assess(framework, "2026-01-02", {"ac-1": "NOT_SATISFIED"}, cloud_account_id=two)
    site.assess(framework, "2026-01-03", {"ac-1": "SATISFIED"}, project_id=project)
    site.judge(framework, "ac-2", "COMPLIANT")
    site.judge(framework, "ac-2", "NON_COMPLIANT", scope_ref="a database")
    site.wrong(two, "scoped 5.2", "ac-3")

    def met(**fields: str) -> tuple[int, int, int]:
        counts = site.roll_up(framework, **fields).counts
        return counts.compliant, counts.partial, counts.non_compliant

    assert met() == (0, 2, 1)
    assert met(account=one) == (2, 0, 0)
    assert met(account=two) == (1, 0, 2)
    assert met(project=project) == (2, 0, 0)


def test_an_answer_is_kept_once_for_each_request(site: Site) -> None:
    framework = site.framework("ac-1", "ac-2", "ac-3", "ac-4", code="KEPT")
    account = site.plant("cloud_accounts")
    site.plant("cloud_assets", account_id=account)
    verdicts = {"ac-1": "SATISFIED", "ac-2": "NOT_SATISFIED", "ac-3": "NOT_APPLICABLE"}
    site.assess(framework, "2026-01-01", verdicts, cloud_account_id=account)
    site.wrong(account, "other", "x", severity="SEVERITY_CRITICAL")
    before = site.count("compliance_reports"), site.count("cloud_security_posture")
    asked = {"account": account, "record": True, "request_id": new_uuid()}
    answer = site.roll_up(framework, **asked)
    assert site.roll_up(framework, **asked) == answer
    report, posture = (site.read(name) for name in answer.records)
    told = report.compliance_report
    assert (told.account_id, told.framework_id, told.standard) == (account, framework, "KEPT-5.2")
    assert (told.total_checks, told.passed_checks, told.failed_checks) == (3, 1, 1)
    assert (told.manual_checks, told.score) == (1, pytest.approx(100 / 3))
    assert [each.requirement_id for each in told.report_data] == ["ac-1", "ac-2", "ac-4"]
    assert told.generate_time == answer.evaluate_time
    known = posture.cloud_security_posture
    assert (known.assets_total, known.critical_count, known.high_count) == (1, 1, 0)
    assert known.posture_score == pytest.approx(100 / 3)
    assert not known.HasField("previous_score")
    assert (site.count("compliance_reports"), site.count("cloud_security_posture")) == (
        before[0] + 1,
        before[1] + 1,
    )
    again = site.roll_up(framework, account=account, record=True)
    last = site.read(again.records[1]).cloud_security_posture
    assert last.previous_score == pytest.approx(100 / 3)


def test_nothing_recorded_is_nothing_met(site: Site) -> None:
    counts = site.roll_up(site.framework("ac-1")).counts
    assert (counts.not_assessed, counts.score, counts.HasField("score")) == (1, 0, True)
    empty = site.framework()
    assert not site.roll_up(empty).counts.HasField("score")
    account = site.plant("cloud_accounts")
    (kept,) = site.roll_up(empty, account=account, record=True).records
    assert not site.read(kept).compliance_report.HasField("score")


def test_what_cannot_be_asked_is_refused(site: Site) -> None:
    framework = site.framework("ac-1")
    request = pb.RollUpFrameworkRequest(framework=framework)
    strange = refused(site.stub_of(PostureServiceStub, "beta", "admin").RollUpFramework, request)
    absent = pb.RollUpFrameworkRequest(framework=f"{site.parent}/compliance_frameworks/none")
    missing = refused(site.stub.RollUpFramework, absent)
    assert strange.reason == missing.reason == "RESOURCE_NOT_FOUND"
    assert strange.message.replace(framework, "") == missing.message.replace(absent.framework, "")
    viewer = refused(site.stub_of(PostureServiceStub, TENANT, "viewer").RollUpFramework, request)
    assert viewer.metadata["permission"] == "security.compliance_frameworks.evaluate"
    account = site.plant("cloud_accounts")
    keeping = pb.RollUpFrameworkRequest(framework=framework, account=account, record=True)
    auditor = site.stub_of(PostureServiceStub, TENANT, "auditor")
    assert auditor.RollUpFramework(request).counts.total == 1
    error = refused(auditor.RollUpFramework, keeping)
    assert error.metadata["permission"] == "security.compliance_reports.create"
    nowhere = pb.RollUpFrameworkRequest(framework=framework, record=True)
    assert refused(site.stub.RollUpFramework, nowhere).violations[0].field == "account"
    gone = f"{site.parent}/cloud_accounts/none"
    error = refused(
        site.stub.RollUpFramework, pb.RollUpFrameworkRequest(framework=framework, account=gone)
    )
    assert (error.reason, error.metadata["resource"]) == ("RESOURCE_NOT_FOUND", gone)
