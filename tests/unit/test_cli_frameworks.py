"""`secmesh compliance frameworks`, `coverage --framework` and `posture`."""

from secmesh.inventory.v1 import assessment_pb2, check_pb2, coverage_pb2, framework_pb2
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]

SERVICE = "ComplianceService"
NAME = "tenants/acme/assessments/7"


def test_frameworks_are_listed_with_who_relates_them(operator: Operator) -> None:
    done = operator.run("compliance", "frameworks")
    framework = framework_pb2.Framework(
        id="iso-27001-2022",
        title="ISO",
        controls=93,
        mapped=92,
        mapping=framework_pb2.FrameworkMapping(source="nist-olir", date="2023-10-12"),
    )
    page = framework_pb2.ListFrameworksResponse(frameworks=[framework])
    operator.answer(SERVICE, "ListFrameworks", page)
    words = " ".join(done.result(SECONDS).stdout.split())
    for word in ("iso-27001-2022", "93", "92", "nist-olir", "2023-10-12"):
        assert word in words


def test_the_controls_of_one_are_listed_page_by_page(operator: Operator) -> None:
    done = operator.run("compliance", "frameworks", "pci-dss-4.0")
    first = framework_pb2.ListFrameworkControlsResponse(next_page_token="1.2.1")
    first.framework_controls.add(control_id="1.2.1", title="Standards")
    asked = operator.answer(SERVICE, "ListFrameworkControls", first)
    second = framework_pb2.ListFrameworkControlsResponse()
    second.framework_controls.add(
        control_id="8.3.6", title="Passwords", check_ids=["iam.pwd_min_length"]
    )
    again = operator.answer(SERVICE, "ListFrameworkControls", second)
    words = " ".join(done.result(SECONDS).stdout.split())
    assert (asked.framework, asked.page_token, again.page_token) == ("pci-dss-4.0", "", "1.2.1")
    assert "1.2.1" in words
    assert "iam.pwd_min_length" in words


def test_coverage_of_a_framework(operator: Operator) -> None:
    done = operator.run("compliance", "coverage", "--framework", "iso-27001-2022")
    covered = coverage_pb2.Coverage(controls=93, testable=40, bound=30, complete=20, failing=1)
    covered.control_coverage.add(
        control_id="A.8.24",
        check_ids=["kms.rotation"],
        failing_check_ids=["kms.rotation"],
        outcome=check_pb2.EVIDENCE_OUTCOME_FAIL,
    )
    request = operator.answer(SERVICE, "GetCoverage", covered)
    result = done.result(SECONDS)
    assert (request.framework, request.baseline) == ("iso-27001-2022", 0)
    words = " ".join(result.stdout.split())
    assert "40 of 93 testable, 30 bound, 20 complete today, 1 failing" in words
    assert "A.8.24" in words
    assert "fail" in words


def test_a_baseline_and_a_framework_together_are_refused(operator: Operator) -> None:
    done = operator.run(
        "compliance", "coverage", "--framework", "pci-dss-4.0", "--baseline", "nist-low"
    )
    result = done.result(SECONDS)
    assert result.exit_code == 2
    assert "--framework" in result.stderr


def test_posture_shows_what_decides_each_control(operator: Operator) -> None:
    done = operator.run(
        "compliance", "posture", "--framework", "iso-27001-2022", "--assessment", "7"
    )
    found = framework_pb2.FrameworkPosture(assessment=NAME, without_verdict=91)
    found.framework.title = "ISO"
    found.control_counts.add(verdict=assessment_pb2.VERDICT_CONTRADICTED, count=2)
    found.control_postures.add(
        control_id="A.8.24",
        verdict=assessment_pb2.VERDICT_CONTRADICTED,
        deciding_control_ids=["sc-13"],
        judged=2,
        related=3,
    )
    partly = assessment_pb2.VERDICT_PARTLY_SUPPORTED
    found.control_counts.add(verdict=partly, count=2)
    found.excepted_control_counts.add(verdict=partly, count=1)
    found.control_postures.add(control_id="A.8.3", verdict=partly, rests_on_exception=True)
    found.control_postures.add(control_id="A.7.12")
    request = operator.answer(SERVICE, "GetFrameworkPosture", found)
    words = " ".join(done.result(SECONDS).stdout.split())
    assert (request.name, request.framework) == (NAME, "iso-27001-2022")
    assert "ISO: 2 contradicted, 2 partly-supported; 91 without a verdict" in words
    assert "by exception: 1 partly-supported" in words
    assert "partly-supported by exception" in words
    assert "2 of 3" in words
    assert "sc-13" in words
    assert "A.7.12" not in words
