"""Controls whose documents and values are not what JSON can hold."""

import json
import math
from typing import Any

import pytest

from secmesh.inventory.v1 import control_service_pb2 as api
from secmesh.inventory.v1.check_pb2 import Effort, RemedyCommand
from tests.service.compliance_world import TENANT
from tests.service.controls_site import Site, control, refusal, site

__all__ = ["site"]


def _prop(name: str, value: str) -> dict[str, str]:
    return {"ns": "https://secmesh.dev/ns/oscal", "name": name, "value": value}


async def _refused(site: Site, written: dict[str, Any]) -> str:
    request = api.ImportControlsRequest(parent=TENANT, document=json.dumps(written).encode())
    refused = await refusal(site.stub.ImportControls(request))
    assert refused.reason == "FIELD_INVALID"
    assert not (await site.stub.ListControls(api.ListControlsRequest(parent=TENANT))).controls
    return refused.message


async def _exported(site: Site) -> dict[str, Any]:
    made = await site.create(control())
    body = await site.stub.ExportControls(api.ExportControlsRequest(parent=TENANT))
    await site.stub.DeleteControl(api.DeleteControlRequest(name=made.name))
    written: dict[str, Any] = json.loads(body.data)
    return written


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("condition", '"\\ud800"', "condition is no JSON"),
        ("remedy", json.dumps('{"\\ud800": 1}'), "remedy is no JSON"),
        ("remedy", json.dumps('{"commands": [{"parameters": {"a": NaN}}]}'), "remedy is no JSON"),
        ("remedy", json.dumps('{"commands": [{"parameters": {"a": 1e999}}]}'), "remedy is no JSON"),
        ("remedy", json.dumps("12"), "remedy must be an object"),
    ],
)
async def test_values_that_no_json_has_are_refused_with_their_place(
    site: Site, name: str, value: str, problem: str
) -> None:
    written = await _exported(site)
    (component,) = written["component-definition"]["components"]
    component["props"] = [each for each in component["props"] if each["name"] != name]
    component["props"].append(_prop(name, value))
    told = await _refused(site, written)
    assert "/component-definition/components/0" in told
    assert problem in told


async def test_fixtures_that_are_no_base64_are_refused_with_their_place(site: Site) -> None:
    written = await _exported(site)
    attached = written["component-definition"]["back-matter"]["resources"][0]["base64"]
    for value, problem in (("é", "is no base64"), ("WzFd", "must hold objects")):
        attached["value"] = value
        told = await _refused(site, written)
        assert "/component-definition/back-matter/resources/0/base64/value" in told
        assert problem in told


async def test_a_remedy_holds_no_number_that_json_lacks(site: Site) -> None:
    for number in (math.nan, math.inf):
        wanted = control()
        command = RemedyCommand(service="s3", operation="PutBucketVersioning")
        command.parameters.update({"Count": number})
        wanted.check.remedy.effort = Effort.EFFORT_LOW
        wanted.check.remedy.commands.append(command)
        refused = await refusal(site.create(wanted))
        assert refused.reason == "FIELD_INVALID"
        assert "control.check.remedy" in refused.message
        assert "a number that JSON has not" in refused.message
    for number in (math.nan, math.inf):
        wanted = control()
        wanted.fixtures[0].records[0].body.update({"encryption": number})
        refused = await refusal(site.create(wanted))
        assert refused.reason == "FIELD_INVALID"
        assert "control.fixtures[0].records[0].body" in refused.message
