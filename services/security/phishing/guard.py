"""What writers of records may not undo of a phishing campaign: PhishingService leads it."""

from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import FieldInvalid
from mesh.records.writing import RECORD
from secmesh.security.v1.phishing_campaign_pb2 import PHISH_CAMPAIGN_STATUS_CANCELED
from services.security.phishing.progress import TIMES

CAMPAIGNS, RESULTS = "phishing_campaigns", "phishing_results"
_LAUNCHED = ("template_id", "target_team_id", "target_groups", "complete_time")
"""What stays of a campaign that was launched."""
_HAPPENED = ("campaign_id", "recipient_key", "email", *TIMES)
"""What stays of a result once it is said."""


class PhishingGuard:
    """Refuses, with FieldInvalid of the reason NOT_ALLOWED, changes of what has happened.

    New records may say anything: campaigns that ended elsewhere are brought along whole.
    """

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are campaigns or their results."""
        return kind.collection in (CAMPAIGNS, RESULTS)

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Refuse a step back in a result, and another course of a launched campaign."""
        field = kind.body_field or ""
        if old is None or not new.HasField(field):
            return
        before, body = getattr(old, field), getattr(new, field)
        changed = _led(before, body) if kind.collection == CAMPAIGNS else _undone(before, body)
        if changed:
            problem = "is not done by writing the record: see PhishingService"
            raise FieldInvalid.of(f"{RECORD}.{field}.{changed}", problem, "NOT_ALLOWED")


def _led(before: Any, body: Any) -> str:
    """Give a field that PhishingService alone changes; empty if there is none."""
    if not before.HasField("total_targets"):
        return ""
    if body.status not in (before.status, PHISH_CAMPAIGN_STATUS_CANCELED):
        return "status"
    return next((name for name in _LAUNCHED if getattr(before, name) != getattr(body, name)), "")


def _undone(before: Any, body: Any) -> str:
    """Give a field that would undo what happened; empty if there is none."""
    # No status at all is told as such.
    if body.HasField("status") and body.status < before.status:
        return "status"
    if before.is_reported and not body.is_reported:
        return "is_reported"
    if list(body.timeline[: len(before.timeline)]) != list(before.timeline):
        return "timeline"
    said = (name for name in _HAPPENED if before.HasField(name) and body.HasField(name))
    lost = (name for name in TIMES if before.HasField(name) and not body.HasField(name))
    other = (name for name in said if getattr(before, name) != getattr(body, name))
    return next(iter([*lost, *other]), "")
