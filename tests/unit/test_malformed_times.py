"""Times that protobuf carries and no calendar knows are refused wherever they stand."""

import pytest

from mesh.server.interceptors.validation import violations_of
from secmesh.tenancy.v1.credential_service_pb2 import VendCredentialsRequest
from secmesh.tenancy.v1.execution_service_pb2 import ListExecutionsRequest
from secmesh.tenancy.v1.schedule_service_pb2 import CreateScheduleRequest

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
