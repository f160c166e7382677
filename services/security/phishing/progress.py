"""What an event changes of one person's result; the order in which events come changes nothing."""

from collections.abc import Mapping
from typing import Any

from secmesh.security.v1 import phishing_campaign_pb2 as campaign
from secmesh.security.v1 import phishing_service_pb2 as pb

TIMELINE = 1000
"""Entries that a result holds; later events still count."""
STEPS: Mapping[int, tuple["campaign.PhishResultStatus.ValueType", str]] = {
    pb.PHISHING_EVENT_TYPE_SENDING: (campaign.PHISH_RESULT_STATUS_SENDING, ""),
    pb.PHISHING_EVENT_TYPE_RETRYING: (campaign.PHISH_RESULT_STATUS_RETRYING, ""),
    pb.PHISHING_EVENT_TYPE_SEND_FAILED: (campaign.PHISH_RESULT_STATUS_SEND_ERROR, ""),
    pb.PHISHING_EVENT_TYPE_SENT: (campaign.PHISH_RESULT_STATUS_EMAIL_SENT, "send_time"),
    pb.PHISHING_EVENT_TYPE_OPENED: (campaign.PHISH_RESULT_STATUS_EMAIL_OPENED, "open_time"),
    pb.PHISHING_EVENT_TYPE_CLICKED: (campaign.PHISH_RESULT_STATUS_CLICKED_LINK, "click_time"),
    pb.PHISHING_EVENT_TYPE_SUBMITTED: (campaign.PHISH_RESULT_STATUS_SUBMITTED_DATA, "submit_time"),
    # Who reports a mail has got it.
    pb.PHISHING_EVENT_TYPE_REPORTED: (campaign.PHISH_RESULT_STATUS_EMAIL_SENT, "report_time"),
}
"""The least status after an event, and the field of its first time."""
TIMES = tuple(field for _, field in STEPS.values() if field)


def record(result: Any, event: pb.PhishingEvent, moment: int) -> bool:
    """Note an event of a moment (microseconds since 1970); False if it was noted before."""
    status, time = STEPS[event.type]
    entry = _entry(event, status, moment)
    if entry in result.timeline:
        return False
    if len(result.timeline) < TIMELINE:
        late = bool(result.timeline) and _place(result.timeline[-1]) > _place(entry)
        result.timeline.append(entry)
        if late:
            result.timeline.sort(key=_place)
        if entry.source_ip:
            _show_last(result)
    result.status = max(result.status, status)
    if event.type == pb.PHISHING_EVENT_TYPE_REPORTED:
        result.is_reported = True
    if time:
        first = getattr(result, time)
        if not result.HasField(time) or moment < first.ToMicroseconds():
            first.FromMicroseconds(moment)
    return True


def _entry(
    event: pb.PhishingEvent, status: "campaign.PhishResultStatus.ValueType", moment: int
) -> campaign.PhishingResult.Event:
    entry = campaign.PhishingResult.Event()
    if event.type == pb.PHISHING_EVENT_TYPE_REPORTED:
        entry.is_report = True
    else:
        entry.status = status
    entry.event_time.FromMicroseconds(moment)
    if event.source_ip:
        entry.source_ip = event.source_ip
    if event.user_agent:
        entry.user_agent = event.user_agent
    return entry


def _place(entry: Any) -> tuple[Any, ...]:
    moment = entry.event_time.ToMicroseconds()
    return (moment, entry.status, entry.is_report, entry.source_ip, entry.user_agent)


def _show_last(result: Any) -> None:
    """Let the result say where the person last came from."""
    for entry in reversed(result.timeline):
        if entry.source_ip:
            result.source_ip = entry.source_ip
            result.user_agent = entry.user_agent
            return
