"""What one event hints at; whatever it says of values is not looked at.

Source: Amazon EventBridge User Guide, "AWS service events delivered via AWS CloudTrail"; AWS
CloudTrail User Guide, "CloudTrail record contents".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.inventory.collect.event_map import EventMap, Told

MALFORMED = "MALFORMED"
ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
NOT_A_CALL = "NOT_A_CALL"
NOTHING_CHANGED = "NOTHING_CHANGED"
NOT_COLLECTED = "NOT_COLLECTED"
IGNORED = frozenset({NOT_A_CALL, NOTHING_CHANGED, NOT_COLLECTED})
"""Reasons of events that are as they should be."""

MAX_ID = 256
_ACCOUNT = re.compile(r"[0-9]{12}")
_READS = re.compile(r"(Get|List|Describe|Head|Lookup|BatchGet|Search|Query|Scan|Select|Test)[A-Z]")
_MANAGEMENT = "Management"


@dataclass(frozen=True)
class Hint:
    """An event that may have changed something."""

    cloud_account_id: str
    region: str
    told: tuple[Told, ...]


@dataclass(frozen=True)
class Unfit:
    """An event because of which nothing is read."""

    reason: str


def event_id(event: Mapping[str, Any]) -> str:
    """Give the id that an event gives itself, cut to what is answered."""
    found = event.get("id")
    return found[:MAX_ID] if isinstance(found, str) else ""


def hint_of(
    event: Mapping[str, Any], knows_region: Callable[[str], bool], events: EventMap
) -> Hint | Unfit:
    """Read one event as EventBridge delivers it."""
    account, detail = event.get("account"), event.get("detail")
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        return Unfit(MALFORMED)
    if not isinstance(detail, Mapping):
        return Unfit(MALFORMED)
    source, name = detail.get("eventSource"), detail.get("eventName")
    if source is None and name is None:
        return Unfit(NOT_A_CALL)
    region = detail.get("awsRegion", event.get("region"))
    if not (isinstance(source, str) and isinstance(name, str) and isinstance(region, str)):
        return Unfit(MALFORMED)
    if not knows_region(region):
        return Unfit(MALFORMED)
    if _changed_nothing(name, detail):
        return Unfit(NOTHING_CHANGED)
    return Hint(account, region, tuple(events.told(source, name, detail)))


def _changed_nothing(name: str, detail: Mapping[str, Any]) -> bool:
    if detail.get("readOnly") is True or detail.get("errorCode"):
        return True
    # Of objects, items and messages nothing is collected.
    if detail.get("eventCategory", _MANAGEMENT) != _MANAGEMENT:
        return True
    return "readOnly" not in detail and _READS.match(name) is not None
