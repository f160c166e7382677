"""Numbers that JSON has not are refused wherever a JSON value can stand."""

import math

import pytest
from google.protobuf.struct_pb2 import Struct

from mesh.server.interceptors.json_numbers import holds_json
from mesh.server.interceptors.validation import violations_of
from secmesh.inventory.v1.control_service_pb2 import CreateControlRequest
from secmesh.inventory.v1.event_service_pb2 import PostEventsRequest
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh.tenancy.v1.schedule_service_pb2 import GetScheduleRequest

BEYOND = [math.nan, math.inf, -math.inf]


def _paths(message: CreateControlRequest | PostEventsRequest | CreateRecordRequest) -> list[str]:
    return [each.field for each in violations_of(message) if each.reason == "NO_JSON"]


@pytest.mark.parametrize("number", BEYOND)
def test_a_number_that_json_has_not_is_named_by_its_field(number: float) -> None:
    posted = PostEventsRequest(parent="tenants/acme")
    posted.events.add().update({"id": "a", "detail": {"plain": 1.5}})
    posted.events.add().update({"id": "b", "detail": {"deep": [1, {"er": number}]}})
    assert _paths(posted) == ["events[1]"]
    written = CreateRecordRequest(parent="tenants/acme/rasp_integrations")
    written.record.rasp_integration.config.update({"a": number})
    assert _paths(written) == ["record.rasp_integration.config"]
    control = CreateControlRequest(parent="tenants/acme", control_id="a")
    control.control.check.remedy.commands.add().parameters.update({"a": [number]})
    control.control.fixtures.add().records.add().body.update({"a": number})
    assert _paths(control) == [
        "control.check.remedy.commands[0].parameters",
        "control.fixtures[0].records[0].body",
    ]


def test_what_only_looks_like_one_is_taken() -> None:
    # A text of these very bytes, and the greatest number there is.
    text = "\x11aaaaaa\U000f0000\x7f"
    posted = PostEventsRequest(parent="tenants/acme")
    posted.events.add().update({"text": text, "most": 1.7976931348623157e308, "none": None})
    assert _paths(posted) == []


def test_messages_that_hold_no_json_are_not_looked_at() -> None:
    assert holds_json(Struct.DESCRIPTOR)
    assert holds_json(PostEventsRequest.DESCRIPTOR)
    assert not holds_json(GetScheduleRequest.DESCRIPTOR)
