"""Rules of EventBridge: which events they pick and where they send them."""

import json
from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.events_pb2 import EventbridgeRule
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.event_buses import BUSES, TAGS, fill_tags

RULES = "events:ListRules"
TARGETS = "events:ListTargetsByRule"
LISTINGS = (BUSES, RULES)
OPERATIONS = frozenset((BUSES, RULES, TARGETS, TAGS))
PAGE = 100
FIELDS = frozenset(EventbridgeRule.DESCRIPTOR.fields_by_name)

Target = EventbridgeRule.Target


def collect(reader: Reader) -> Collected:
    """Read the rules of one region, on all its buses."""
    buses = reader.items(BUSES, "EventBuses", page_size=PAGE, listing=True)
    if isinstance(buses, Unread):
        return Collected([], buses)
    listed = reader.fan_out(lambda bus: _rules(reader, str(bus["Name"])), buses)
    rules = [rule for each in listed if not isinstance(each, Unread) for rule in each]
    gap = next((each for each in listed if isinstance(each, Unread)), None)
    return Collected(reader.fan_out(lambda rule: _read_rule(reader, rule), rules), gap)


def _rules(reader: Reader, bus: str) -> list[Response] | Unread:
    return reader.items(
        RULES, "Rules", page_size=PAGE, listing=True, resource=bus, EventBusName=bus
    )


def _read_rule(reader: Reader, rule: Response) -> Draft[EventbridgeRule]:
    draft = rule_draft(rule)
    body, arn = draft.body, draft.arn
    targets = reader.picked(
        TARGETS,
        "Targets",
        target_of,
        page_size=PAGE,
        resource=arn,
        Rule=body.rule_name,
        EventBusName=body.bus_name,
    )
    if isinstance(targets, Unread):
        draft.miss(targets, "targets")
    else:
        body.targets.extend(sorted(targets, key=lambda target: target.target_id))
    if not body.HasField("managed_by"):
        fill_tags(draft, reader.call(TAGS, resource=arn, ResourceARN=arn))
    return draft


def rule_draft(rule: Response) -> Draft[EventbridgeRule]:
    """Map one rule by its place in the list."""
    pattern = rule.get("EventPattern") or None
    body = EventbridgeRule(
        rule_name=rule["Name"],
        bus_name=rule.get("EventBusName", "default"),
        description=rule.get("Description") or None,
        state=rule.get("State", ""),
        event_pattern=pattern,
        event_sources=sources_of(pattern or ""),
        schedule=rule.get("ScheduleExpression") or None,
        role=rule.get("RoleArn") or None,
        managed_by=rule.get("ManagedBy") or None,
    )
    arn = str(rule["Arn"])
    return Draft(native_id=arn, arn=arn, body=body)


def target_of(target: Response) -> Target:
    """Map a target without what is sent to it."""
    queue: Any = target.get("DeadLetterConfig") or {}
    return Target(
        target_id=target["Id"],
        target_arn=target["Arn"],
        role=target.get("RoleArn", ""),
        dead_letter_target=queue.get("Arn", ""),
    )


def sources_of(pattern: str) -> list[str]:
    """Give the sources that an event pattern names.

    Source: Amazon EventBridge User Guide, "Comparison operators for use in event patterns".
    """
    try:
        told = json.loads(pattern)
    except (ValueError, RecursionError):
        return []
    named = told.get("source") if isinstance(told, dict) else None
    return sorted(set(_names(named if isinstance(named, list) else ())))


def _names(named: Iterable[object]) -> Iterable[str]:
    for each in named:
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            prefix, wildcard = each.get("prefix"), each.get("wildcard")
            if isinstance(prefix, str):
                yield f"{prefix}*"
            if isinstance(wildcard, str):
                yield wildcard


COLLECTOR = Collector(
    "eventbridge_rules",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
