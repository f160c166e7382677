"""Times that protobuf carries and no calendar knows are refused wherever they stand."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.contract.catalogue import is_map, load_catalogue
from mesh.server.interceptors.times import malformed_times
from mesh.server.interceptors.validation import violations_of
from secmesh.tenancy.v1.credential_service_pb2 import VendCredentialsRequest
from secmesh.tenancy.v1.execution_service_pb2 import ListExecutionsRequest
from secmesh.tenancy.v1.schedule_service_pb2 import CreateScheduleRequest, GetScheduleRequest
from tests.examples import examples

MALFORMED = [
    (-62_135_596_801, 0),
    (253_402_300_800, 0),
    (2**62, 0),
    (1, -1),
    (-1, 2_000_000_000),
]


@pytest.mark.parametrize(("seconds", "nanos"), MALFORMED)
def test_a_timestamp_that_is_none_is_named_by_its_field(seconds: int, nanos: int) -> None:
    request = CreateScheduleRequest(parent="tenants/acme")
    request.schedule.start_time.seconds, request.schedule.start_time.nanos = seconds, nanos
    (violation,) = violations_of(request)
    assert (violation.field, violation.reason) == ("schedule.start_time", "MALFORMED")


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(315_576_000_001, 0), (1, -1), (-1, 1), (0, 1_000_000_000)]
)
def test_a_duration_that_is_none_is_named_by_its_field(seconds: int, nanos: int) -> None:
    request = VendCredentialsRequest(name="tenants/acme/accounts/a", purpose="scan")
    request.lifetime.seconds, request.lifetime.nanos = seconds, nanos
    (violation,) = violations_of(request)
    assert (violation.field, violation.reason) == ("lifetime", "MALFORMED")


def test_times_within_the_calendar_go_by_the_rules_of_the_contract() -> None:
    request = ListExecutionsRequest(parent="tenants/acme/schedules/-")
    request.since_time.seconds, request.since_time.nanos = 1_800_000_000, 999_999_999
    assert violations_of(request) == []
    request.until_time.seconds = 253_402_300_799
    (violation,) = violations_of(request)
    assert violation.field == "until_time"
    assert violation.reason != "MALFORMED"


REQUESTS = [
    method.descriptor.input_type
    for package in ("inventory", "security", "crypto", "tenancy")
    for method in load_catalogue(f"secmesh.{package}.v1").methods.values()
]
JUDGED = {
    Timestamp.DESCRIPTOR.full_name: [(1, 1), (0, 0), *MALFORMED],
    Duration.DESCRIPTOR.full_name: [(1, 1), (0, 0), (1, -1), (315_576_000_001, 0)],
}


def malformed_by_full_walk(message: Message, prefix: str = "") -> Iterator[str]:
    """Look into every field that is set, whether or not its type can hold a time."""
    for field, value in message.ListFields():
        if field.message_type is None or field.is_repeated:
            continue
        path, kind = f"{prefix}{field.name}", field.message_type.full_name
        if kind not in JUDGED:
            yield from malformed_by_full_walk(value, f"{path}.")
        elif (value.seconds, value.nanos) not in JUDGED[kind][:2]:
            yield path


def fill(message: Message, draw: Any, depth: int) -> None:
    """Set every other field that is a message or a list of them."""
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        kind = field.message_type
        if kind is None or depth == 0 or is_map(field) or not draw(st.booleans()):
            continue
        held = getattr(message, field.name)
        if field.is_repeated:
            held = held.add()
        held.SetInParent()
        if kind.full_name in JUDGED:
            held.seconds, held.nanos = draw(st.sampled_from(JUDGED[kind.full_name]))
        else:
            fill(held, draw, depth - 1)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_places_that_can_hold_times_are_all_that_hold_malformed_ones(data: st.DataObject) -> None:
    message = GetMessageClass(data.draw(st.sampled_from(REQUESTS)))()
    fill(message, data.draw, 4)
    find = malformed_times(message.DESCRIPTOR)
    found = [path for path, _ in find(message, "")] if find is not None else []
    assert sorted(found) == sorted(malformed_by_full_walk(message))


def test_requests_without_times_are_not_looked_at() -> None:
    assert malformed_times(VendCredentialsRequest.DESCRIPTOR) is not None
    assert malformed_times(GetScheduleRequest.DESCRIPTOR) is None
