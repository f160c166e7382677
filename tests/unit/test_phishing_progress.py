"""What events change of one person's result, in whatever order they come."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secmesh.security.v1 import phishing_campaign_pb2 as campaign
from secmesh.security.v1 import phishing_service_pb2 as pb
from services.security.phishing import progress

TYPES = [value.number for value in pb.PhishingEventType.DESCRIPTOR.values if value.number]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(TYPES), st.integers(0, 5), st.sampled_from(["", "192.0.2.1", "192.0.2.2"])
    ),
    max_size=12,
)


def fresh() -> Any:
    return campaign.PhishingResult(status=campaign.PHISH_RESULT_STATUS_SCHEDULED)


def record(result: Any, kind: int, second: int, source_ip: str = "") -> bool:
    event = pb.PhishingEvent(recipient_key="k", source_ip=source_ip)
    event.type = kind  # type: ignore[assignment]  # a number of the enum
    return progress.record(result, event, second * 1_000_000)


@given(EVENTS, st.randoms())
def test_the_order_of_events_changes_nothing(
    events: list[tuple[int, int, str]], random: Any
) -> None:
    result, other = fresh(), fresh()
    for event in events:
        record(result, *event)
    random.shuffle(events)
    for event in events:
        record(other, *event)
    assert result == other


@given(EVENTS)
def test_a_person_only_goes_forward_and_nothing_counts_twice(
    events: list[tuple[int, int, str]],
) -> None:
    result = fresh()
    for event in events:
        before: Any = campaign.PhishingResult()
        before.CopyFrom(result)
        record(result, *event)
        assert result.status >= before.status
        assert result.is_reported >= before.is_reported
        for field in progress.TIMES:
            if before.HasField(field):
                first, now = getattr(before, field), getattr(result, field)
                assert now.ToMicroseconds() <= first.ToMicroseconds()
        once = campaign.PhishingResult()
        once.CopyFrom(result)
        assert not record(result, *event)
        assert result == once


def test_each_event_leads_as_far_as_gophish_says() -> None:
    expected = {
        pb.PHISHING_EVENT_TYPE_SENDING: ("SENDING", None),
        pb.PHISHING_EVENT_TYPE_RETRYING: ("RETRYING", None),
        pb.PHISHING_EVENT_TYPE_SEND_FAILED: ("SEND_ERROR", None),
        pb.PHISHING_EVENT_TYPE_SENT: ("EMAIL_SENT", "send_time"),
        pb.PHISHING_EVENT_TYPE_OPENED: ("EMAIL_OPENED", "open_time"),
        pb.PHISHING_EVENT_TYPE_CLICKED: ("CLICKED_LINK", "click_time"),
        pb.PHISHING_EVENT_TYPE_SUBMITTED: ("SUBMITTED_DATA", "submit_time"),
        pb.PHISHING_EVENT_TYPE_REPORTED: ("EMAIL_SENT", "report_time"),
    }
    assert set(expected) == set(TYPES)
    for kind, (status, time) in expected.items():
        result = fresh()
        assert record(result, kind, 7, "192.0.2.1")
        assert campaign.PhishResultStatus.Name(result.status) == f"PHISH_RESULT_STATUS_{status}"
        assert result.is_reported == (kind == pb.PHISHING_EVENT_TYPE_REPORTED)
        assert [each for each in progress.TIMES if result.HasField(each)] == (
            [time] if time else []
        )
        assert (result.source_ip, len(result.timeline)) == ("192.0.2.1", 1)


def test_a_full_timeline_keeps_nobody_from_going_on() -> None:
    result = fresh()
    for second in range(progress.TIMELINE):
        record(result, pb.PHISHING_EVENT_TYPE_OPENED, second)
    record(result, pb.PHISHING_EVENT_TYPE_CLICKED, 10**6)
    assert len(result.timeline) == progress.TIMELINE
    assert result.status == campaign.PHISH_RESULT_STATUS_CLICKED_LINK
