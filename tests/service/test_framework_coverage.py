"""Frameworks over a real server: their pages, their coverage, and verdicts rolled up to them."""

from typing import Any

import grpc
import pytest

from mesh.client import CallRefused
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, coverage_pb2, framework_pb2, ssp_pb2
from services.inventory.compliance.frameworks import load_frameworks
from tests.service.compliance_served import Served, estate, served
from tests.service.compliance_world import TENANT

__all__ = ["served"]


async def coverage(served: Served, framework: str) -> coverage_pb2.Coverage:
    return await served.stub.GetCoverage(
        coverage_pb2.GetCoverageRequest(parent=TENANT, framework=framework)
    )


async def test_frameworks_come_page_by_page(served: Served) -> None:
    found: list[str] = []
    token = ""
    while True:
        page = await served.stub.ListFrameworks(
            framework_pb2.ListFrameworksRequest(page_size=3, page_token=token)
        )
        found += [each.id for each in page.frameworks]
        token = page.next_page_token
        if not token:
            break
    assert found == list(load_frameworks())


async def test_controls_of_a_framework_come_page_by_page(served: Served) -> None:
    found: list[str] = []
    token = ""
    while True:
        page = await served.stub.ListFrameworkControls(
            framework_pb2.ListFrameworkControlsRequest(
                framework="pci-dss-4.0", page_size=60, page_token=token
            )
        )
        found += [each.control_id for each in page.framework_controls]
        token = page.next_page_token
        if not token:
            break
    assert found == [each.control_id for each in load_frameworks()["pci-dss-4.0"].controls]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"framework": "iso-27001-2013"}, "FIELD_INVALID"),
        ({"framework": ""}, "FIELD_INVALID"),
        ({"framework": "pci-dss-4.0", "page_token": "99.1"}, "PAGE_TOKEN_INVALID"),
    ],
)
async def test_what_is_not_known_is_refused(
    served: Served, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.stub.ListFrameworkControls(
            framework_pb2.ListFrameworkControlsRequest(**change)
        )
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == reason


async def test_a_page_token_of_nothing_is_refused(served: Served) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.stub.ListFrameworks(framework_pb2.ListFrameworksRequest(page_token="cis"))
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_one_of_baseline_and_framework_must_be_given(served: Served) -> None:
    request = coverage_pb2.GetCoverageRequest(
        parent=TENANT, framework="nist-low", baseline=ssp_pb2.BASELINE_NIST_LOW
    )
    with pytest.raises(CallRefused) as caught:
        await served.stub.GetCoverage(request)
    assert caught.value.reason == "FIELD_INVALID"
    with pytest.raises(CallRefused) as caught:
        await coverage(served, "cis-7")
    assert caught.value.reason == "FIELD_INVALID"


async def test_a_baseline_may_be_named_as_a_framework(served: Served) -> None:
    by_name = await coverage(served, "fedramp-moderate")
    by_value = await served.stub.GetCoverage(
        coverage_pb2.GetCoverageRequest(parent=TENANT, baseline=ssp_pb2.BASELINE_FEDRAMP_MODERATE)
    )
    assert by_name == by_value
    assert by_name.framework == "fedramp-moderate"
    assert not any(each.related_control_ids for each in by_name.control_coverage)


async def test_coverage_of_iso_follows_the_related_controls(served: Served) -> None:
    before = await coverage(served, "iso-27001-2022")
    assert (before.controls, before.complete, before.failing) == (93, 0, 0)
    assert 0 < before.bound < before.testable < 93
    await estate(served)
    after = await coverage(served, "iso-27001-2022")
    by_id = {each.control_id: each for each in after.control_coverage}
    cryptography = by_id["A.8.24"]
    assert list(cryptography.related_control_ids) == ["sc-12", "sc-13", "sc-17"]
    assert cryptography.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL
    assert "s3.encryption" in cryptography.failing_check_ids
    assert after.failing == sum(bool(each.failing_check_ids) for each in after.control_coverage)
    assert by_id["A.7.12"].outcome == check_pb2.EVIDENCE_OUTCOME_UNSPECIFIED
    assert not by_id["A.7.12"].testable


async def test_coverage_of_pci_follows_the_named_checks_alone(served: Served) -> None:
    await estate(served)
    found = await coverage(served, "pci-dss-4.0")
    assert found.controls == 205
    by_id = {each.control_id: each for each in found.control_coverage}
    assert by_id["3.5.1"].check_ids == ["s3.encryption"]
    assert by_id["3.5.1"].outcome == check_pb2.EVIDENCE_OUTCOME_FAIL
    assert by_id["3.5.1"].complete
    assert by_id["4.2.1"].check_ids == ["s3.tls_only"]
    assert by_id["4.2.1"].outcome == check_pb2.EVIDENCE_OUTCOME_PASS
    # Passwords were never read: that is no pass.
    assert by_id["8.3.6"].outcome == check_pb2.EVIDENCE_OUTCOME_UNREAD
    assert not by_id["8.3.6"].complete
    # Related to a control with checks, yet the mapping names none for it.
    assert not by_id["3.3.2"].check_ids
    assert by_id["3.3.2"].testable


async def test_verdicts_are_rolled_up_to_a_framework(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    found = await served.stub.GetFrameworkPosture(
        framework_pb2.GetFrameworkPostureRequest(name=assessment.name, framework="iso-27001-2022")
    )
    by_id = {each.control_id: each for each in found.control_postures}
    records = by_id["A.5.33"]
    assert records.verdict == pb.VERDICT_CONTRADICTED
    assert list(records.deciding_control_ids) == ["sc-28.1"]
    assert found.framework.id == "iso-27001-2022"
    assert found.without_verdict + sum(each.count for each in found.control_counts) == 93
    with pytest.raises(CallRefused) as caught:
        await served.stub.GetFrameworkPosture(
            framework_pb2.GetFrameworkPostureRequest(
                name=f"{TENANT}/assessments/none", framework="iso-27001-2022"
            )
        )
    assert caught.value.code == grpc.StatusCode.NOT_FOUND
