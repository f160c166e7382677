"""`secmesh inventory events` against services that answer from a table."""

import json
from pathlib import Path

import pytest

from secmesh.inventory.v1.event_service_pb2 import EventResult, PostEventsResponse
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]

EVENT = {"id": "one", "account": "123456789012", "detail": {"eventName": "CreateBucket"}}


@pytest.mark.parametrize(
    "text",
    [json.dumps(EVENT), json.dumps([EVENT]), f"\n{json.dumps(EVENT)}\n\n"],
    ids=["one", "list", "lines"],
)
def test_events_of_a_file_are_posted(operator: Operator, tmp_path: Path, text: str) -> None:
    file = tmp_path / "events.json"
    file.write_text(text, encoding="utf-8")
    done = operator.run("-o", "json", "inventory", "events", "post", str(file), "--wait", "3")
    result = EventResult(event_id="one", state=EventResult.STATE_REFUSED, reason="ACCOUNT_UNKNOWN")
    answer = PostEventsResponse(results=[result])
    request = operator.answer("EventService", "PostEvents", answer)
    assert request.parent == "tenants/acme"
    assert [dict(each)["id"] for each in request.events] == ["one"]
    assert request.wait.seconds == 3
    told = done.result(SECONDS)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["results"][0]["reason"] == "ACCOUNT_UNKNOWN"
    assert "ACCOUNT_UNKNOWN" in told.stderr


@pytest.mark.parametrize("text", ["{", '"text"', "[[1]]", "{}\nno"])
def test_a_file_without_events_is_refused(operator: Operator, tmp_path: Path, text: str) -> None:
    file = tmp_path / "events.json"
    file.write_text(text, encoding="utf-8")
    told = operator.run("inventory", "events", "post", str(file)).result(SECONDS)
    assert told.exit_code == 2
    assert "holdsnoevents" in told.output.translate({ord(each): None for each in " │\n"})
