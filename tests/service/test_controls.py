"""A tenant's own controls over gRPC: kept, tried, weighed beside the checks, taken along."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from mesh.client import CallRefused, open_channel
from secmesh.inventory.v1 import check_pb2, control_service_pb2_grpc
from secmesh.inventory.v1 import control_service_pb2 as api
from secmesh.inventory.v1.control_pb2 import Control
from tests.service.compliance_world import NOW, TENANT
from tests.service.controls_site import NAME, Site, control, estate, fixture, refusal, site
from tests.service.server_fixtures import PACKAGE

__all__ = ["site"]

REQUEST = "11111111-1111-4111-8111-111111111111"


def threshold(variable: str, default: int) -> dict[str, Any]:
    parameter = {
        "variable": variable,
        "default_value": default,
        "direction": "THRESHOLD_DIRECTION_AT_MOST",
        "unit": "THRESHOLD_UNIT_DAYS",
    }
    return {"check": {"parameters": [parameter]}}


async def test_a_control_is_weighed_beside_the_checks_in_its_version(site: Site) -> None:
    await estate(site)
    made = await site.create(control())
    assert (made.name, made.version, made.check.id) == (NAME, 1, "custom.kms_only")
    assert [(each.control_id, each.source) for each in made.check.controls] == [
        ("sc-28.1", "tenant")
    ]
    assert made.create_time.ToDatetime() == made.update_time.ToDatetime()
    assert await site.stub.GetControl(api.GetControlRequest(name=NAME)) == made

    _, results = await site.assess()
    own = results["custom.kms_only"]
    assert (own.passed, own.failed, own.control_version) == (1, 2, 1)
    assert own.remediation == "Set default encryption to aws:kms."
    assert own.failing_filter == 'encryption != "AWS_KMS"' or "AWS_KMS" in own.failing_filter
    assert results["s3.encryption"].control_version == 0

    changed = await site.update(
        control(check={"condition": 'encryption in ["AWS_KMS", "AES256"]'}, name=NAME), "check"
    )
    assert (changed.version, changed.etag) == (2, "v2")
    _, results = await site.assess()
    own = results["custom.kms_only"]
    assert (own.passed, own.failed, own.control_version) == (2, 1, 2)

    await site.update(Control(name=NAME, disabled=True), "disabled")
    _, results = await site.assess()
    assert "custom.kms_only" not in results


async def test_versions_stay_and_nothing_new_is_no_version(site: Site) -> None:
    first = await site.create(control())
    same = await site.update(control(name=NAME), "check", "fixtures", "description")
    assert same == first
    second = await site.update(Control(name=NAME, description="Better."), "description")
    assert (second.version, second.check, second.fixtures) == (2, first.check, first.fixtures)
    request = api.ListControlVersionsRequest(parent=NAME, page_size=1)
    page = await site.stub.ListControlVersions(request)
    assert [each.version for each in page.control_versions] == [2]
    request.page_token = page.next_page_token
    page = await site.stub.ListControlVersions(request)
    assert [each.control for each in page.control_versions] == [first]
    assert not page.next_page_token
    later = api.ListControlVersionsRequest(parent=NAME, filter="version > 1")
    page = await site.stub.ListControlVersions(later)
    assert [each.version for each in page.control_versions] == [2]
    old = await site.stub.GetControlVersion(api.GetControlVersionRequest(name=f"{NAME}/versions/1"))
    assert old.control == first

    listed = await site.stub.ListControls(
        api.ListControlsRequest(parent=TENANT, filter='description.startsWith("Better")')
    )
    assert list(listed.controls) == [second]
    await site.stub.DeleteControl(api.DeleteControlRequest(name=NAME, etag=second.etag))
    for gone in (
        site.stub.GetControl(api.GetControlRequest(name=NAME)),
        site.stub.GetControlVersion(api.GetControlVersionRequest(name=f"{NAME}/versions/1")),
        site.stub.ListControlVersions(api.ListControlVersionsRequest(parent=NAME)),
        site.stub.DeleteControl(api.DeleteControlRequest(name=NAME)),
    ):
        assert (await refusal(gone)).reason == "RESOURCE_NOT_FOUND"


async def test_a_request_is_done_once_and_writers_do_not_lose_each_other(site: Site) -> None:
    first, again = await asyncio.gather(
        site.create(control(), request_id=REQUEST), site.create(control(), request_id=REQUEST)
    )
    assert first == again
    assert (await refusal(site.create(control()))).reason == "RESOURCE_EXISTS"

    async def describe(number: int) -> Control | CallRefused:
        try:
            new = Control(name=NAME, description=str(number), etag="v1")
            return await site.update(new, "description")
        except CallRefused as refused:
            return refused

    done = await asyncio.gather(*map(describe, range(6)))
    written = [each for each in done if isinstance(each, Control)]
    refused = [each.reason for each in done if isinstance(each, CallRefused)]
    assert [each.version for each in written] == [2]
    assert refused == ["ETAG_MISMATCH"] * 5


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"check": {"collection": "nowhere"}}, "control.check.collection", "no collection 'no"),
        ({"check": {"condition": "encryption =="}}, "control.check.condition", "line 1"),
        ({"check": {"condition": "nothing == 1"}}, "control.check.condition", "nothing"),
        ({"check": {"applies": '"text"'}}, "control.check.applies", "not bool"),
        ({"check": {"quantifier": "QUANTIFIER_ANY"}}, "control.check.quantifier", "account"),
        ({"check": {"controls": [{"control_id": "zz-1"}]}}, "control.check.controls", "zz-1"),
        ({"check": {"controls": []}}, "control.check.controls", "at least 1"),
        (threshold("now", 90), "control.check.parameters", "the moment of weighing"),
        (threshold("most", 1_000_001), "control.check.parameters", "must be 0 to 1,000,000"),
        (threshold("most", -1), "control.check.parameters", "must be 0 to 1,000,000"),
        ({"fixtures": []}, "control.fixtures", "must come out as pass"),
        (
            {"fixtures": [fixture("EVIDENCE_OUTCOME_PASS", {"encryption": "AWS_KMS"})]},
            "control.fixtures",
            "must come out as fail",
        ),
        (
            {"fixtures": [fixture("EVIDENCE_OUTCOME_PASS", {"encryption": "NONE"})]},
            "control.fixtures[0].outcome",
            "is fail and not pass",
        ),
        (
            {"fixtures": [fixture("EVIDENCE_OUTCOME_PASS", {"nonsense": 1})]},
            "control.fixtures[0].records[0].body",
            "is no s3_buckets",
        ),
        (
            {"fixtures": [fixture("EVIDENCE_OUTCOME_UNREAD", {}, "nonsense")]},
            "control.fixtures[0].records[0].unread[0]",
            "no field 'nonsense'",
        ),
        (
            {"fixtures": [{"outcome": "EVIDENCE_OUTCOME_PASS"}]},
            "control.fixtures[0].records",
            "must be one record",
        ),
        ({"fixtures": [{"records": []}]}, "control.fixtures[0].outcome", "must be set"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_stored(
    site: Site, change: dict[str, Any], field: str, problem: str
) -> None:
    refused = await refusal(site.create(control(**change)))
    assert refused.reason == "FIELD_INVALID"
    assert field in refused.message
    assert problem in refused.message
    assert not (await site.stub.ListControls(api.ListControlsRequest(parent=TENANT))).controls


async def test_an_update_keeps_the_fixtures_true(site: Site) -> None:
    await site.create(control())
    wrong = control(check={"condition": 'encryption == "NONE"'}, name=NAME)
    refused = await refusal(site.update(wrong, "check"))
    assert "control.fixtures[0].outcome: is fail and not pass" in refused.message
    assert (await site.stub.GetControl(api.GetControlRequest(name=NAME))).version == 1


async def test_a_control_is_tried_on_what_was_known_at_a_moment(site: Site) -> None:
    tried = api.TestControlRequest(parent=TENANT, control=control(fixtures=[]))
    assert not (await site.stub.TestControl(tried)).HasField("result")
    await estate(site)
    answer = await site.stub.TestControl(tried)
    assert (answer.result.passed, answer.result.failed) == (1, 2)
    assert not answer.fixtures

    tried.read_time.FromDatetime(NOW - timedelta(days=3000))
    assert not (await site.stub.TestControl(tried)).HasField("result")
    tried.read_time.FromDatetime(NOW + timedelta(days=3000))
    assert (await refusal(site.stub.TestControl(tried))).reason == "FIELD_INVALID"

    await site.create(control())
    stored = api.TestControlRequest(parent=TENANT, control_id="kms-only")
    answer = await site.stub.TestControl(stored)
    assert [(each.wanted, each.outcome) for each in answer.fixtures] == [
        (check_pb2.EVIDENCE_OUTCOME_PASS, check_pb2.EVIDENCE_OUTCOME_PASS),
        (check_pb2.EVIDENCE_OUTCOME_FAIL, check_pb2.EVIDENCE_OUTCOME_FAIL),
        (check_pb2.EVIDENCE_OUTCOME_UNREAD, check_pb2.EVIDENCE_OUTCOME_UNREAD),
    ]
    stored.control_id = "kms-only/versions/1"
    assert await site.stub.TestControl(stored) == answer
    stored.control_id = "kms-only/versions/2"
    assert (await refusal(site.stub.TestControl(stored))).reason == "RESOURCE_NOT_FOUND"
    # What fails is answered, not refused: that is what trying is for.
    wrong = control(fixtures=[fixture("EVIDENCE_OUTCOME_PASS", {"encryption": "NONE"})])
    (result,) = (
        await site.stub.TestControl(api.TestControlRequest(parent=TENANT, control=wrong))
    ).fixtures
    assert result.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL


async def test_an_account_is_judged_by_all_its_records(site: Site) -> None:
    change = {"scope": "CHECK_SCOPE_ACCOUNT", "quantifier": "QUANTIFIER_ANY"}
    bodies = [{"body": {"encryption": each}} for each in ("NONE", "AWS_KMS")]
    fixtures = [
        {"outcome": "EVIDENCE_OUTCOME_PASS", "records": bodies},
        {"outcome": "EVIDENCE_OUTCOME_FAIL", "records": bodies[:1]},
    ]
    await estate(site)
    await site.create(control(check=change, fixtures=fixtures))
    _, results = await site.assess()
    own = results["custom.kms_only"]
    assert (own.passed, own.failed) == (1, 0)


async def test_controls_are_taken_to_another_tenant_and_back(site: Site) -> None:
    refused = await refusal(site.stub.ExportControls(api.ExportControlsRequest(parent=TENANT)))
    assert "has no controls" in refused.message
    await site.create(control())
    await site.create(control(disabled=True, description=""), "other")
    body = await site.stub.ExportControls(api.ExportControlsRequest(parent=TENANT))
    assert body.content_type == "application/json"
    assert await site.stub.ExportControls(api.ExportControlsRequest(parent=TENANT)) == body

    again = api.ImportControlsRequest(parent=TENANT, document=body.data)
    answer = await site.stub.ImportControls(again)
    assert list(answer.unchanged) == [NAME, f"{TENANT}/controls/other"]
    assert not answer.created
    assert not answer.updated

    elsewhere = "tenants/beta"
    there = site.server.metadata(tenant="beta")
    async with open_channel(site.server.address, package=PACKAGE) as channel:
        stub = control_service_pb2_grpc.ControlServiceStub(channel)
        request = api.ImportControlsRequest(
            parent=elsewhere, document=body.data, validate_only=True
        )
        trial = await stub.ImportControls(request, metadata=there)
        assert len(trial.created) == 2
        listing = api.ListControlsRequest(parent=elsewhere)
        assert not (await stub.ListControls(listing, metadata=there)).controls
        request.validate_only = False
        assert await stub.ImportControls(request, metadata=there) == trial
        found = (await stub.ListControls(listing, metadata=there)).controls
    assert [each.check for each in found] == [control_of.check for control_of in await ours(site)]
    assert [each.disabled for each in found] == [False, True]


async def ours(site: Site) -> list[Control]:
    return list((await site.stub.ListControls(api.ListControlsRequest(parent=TENANT))).controls)


async def test_a_document_is_taken_whole_or_not(site: Site) -> None:
    await site.create(control(), "a-good-one")
    await site.create(control(), "b-bad-one")
    body = await site.stub.ExportControls(api.ExportControlsRequest(parent=TENANT))
    before = await ours(site)
    written = json.loads(body.data)
    for component, words in zip(
        written["component-definition"]["components"],
        ['"public == true"', '"public =="'],
        strict=True,
    ):
        for prop in component["props"]:
            if prop["name"] == "condition":
                prop["value"] = words
    request = api.ImportControlsRequest(parent=TENANT, document=json.dumps(written).encode())
    refused = await refusal(site.stub.ImportControls(request))
    assert refused.reason == "FIELD_INVALID"
    assert "document: /component-definition/components/0: control.fixtures[0]" in refused.message
    assert await ours(site) == before
    nothing = api.ImportControlsRequest(parent=TENANT, document=b"<xml/>")
    assert "the document is XML" in (await refusal(site.stub.ImportControls(nothing))).message


async def test_another_tenants_controls_are_not_there(site: Site) -> None:
    await site.create(control())
    metadata = site.server.metadata(tenant="beta")
    async with open_channel(site.server.address, package=PACKAGE) as channel:
        stub = control_service_pb2_grpc.ControlServiceStub(channel)
        for call in (
            stub.GetControl(api.GetControlRequest(name=NAME), metadata=metadata),
            stub.ListControls(api.ListControlsRequest(parent=TENANT), metadata=metadata),
            stub.DeleteControl(api.DeleteControlRequest(name=NAME), metadata=metadata),
        ):
            assert (await refusal(call)).reason == "RESOURCE_NOT_FOUND"
