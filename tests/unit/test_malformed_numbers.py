"""Numbers that JSON has not are refused wherever a request holds JSON, by their place."""

import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from mesh.server.interceptors.numbers import MAX_KEY, numbers_not_of_json
from mesh.server.interceptors.validation import MAX_VIOLATIONS, violations_of
from secmesh.inventory.v1.control_service_pb2 import TestControlRequest as TrialRequest
from secmesh.inventory.v1.event_service_pb2 import PostEventsRequest
from secmesh.inventory.v1.store_service_pb2 import GetStatsRequest

NOT_OF_JSON = (math.nan, math.inf, -math.inf)


def posted(**event: Any) -> PostEventsRequest:
    held = Struct()
    held.update(event)
    return PostEventsRequest(parent="tenants/acme", events=[Struct(), held])


@pytest.mark.parametrize("number", NOT_OF_JSON)
def test_a_number_that_json_has_not_is_named_by_its_place(number: float) -> None:
    request = posted(detail={"list": [1, {"deep": [number]}]}, id="x")
    (violation,) = violations_of(request)
    assert violation.field == "events[1].detail.list[1].deep[0]"
    assert (violation.reason, violation.description) == ("MALFORMED", "is no number of JSON")


@pytest.mark.parametrize("number", NOT_OF_JSON)
def test_lists_of_messages_are_looked_into(number: float) -> None:
    request = TrialRequest(parent="tenants/acme")
    record = request.control.fixtures.add().records.add()
    record.body["size"] = number
    request.control.check.remedy.commands.add().parameters["Size"] = number
    assert {each.field for each in violations_of(request)} == {
        "control.fixtures[0].records[0].body.size",
        "control.check.remedy.commands[0].parameters.Size",
    }


def test_numbers_of_json_pass() -> None:
    whole: dict[str, Any] = {"a": [0, -1.5, 1e308, None, True, "NaN", []], "b": {}}
    assert violations_of(posted(**whole)) == []


def test_no_more_is_told_than_an_answer_holds() -> None:
    request = posted(**{"k" * 100_000: [math.nan] * 1000})
    found = violations_of(request)
    assert len(found) == MAX_VIOLATIONS
    assert max(len(each.field) for each in found) < 2 * MAX_KEY


def test_requests_without_json_are_not_looked_at() -> None:
    assert numbers_not_of_json(PostEventsRequest.DESCRIPTOR) is not None
    assert numbers_not_of_json(GetStatsRequest.DESCRIPTOR) is None
