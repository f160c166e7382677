"""Event buses of EventBridge: who may write to them and what they keep."""

from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.events_pb2 import EventBus
from services.inventory.collect.access_policy import admits_everyone, foreign_accounts
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

BUSES = "events:ListEventBuses"
DESCRIBE = "events:DescribeEventBus"
ARCHIVES = "events:ListArchives"
TAGS = "events:ListTagsForResource"
LISTINGS = (BUSES,)
OPERATIONS = frozenset((BUSES, DESCRIBE, ARCHIVES, TAGS))
PAGE = 100
DESCRIBED_FIELDS = ("description", "kms_key_id", "dead_letter_target", "log_level")
FIELDS = frozenset(EventBus.DESCRIPTOR.fields_by_name)
OFF = "OFF"

Archives = list[Response] | Unread


def collect(reader: Reader) -> Collected:
    """Read the buses of one region."""
    buses = reader.items(BUSES, "EventBuses", page_size=PAGE, listing=True)
    if isinstance(buses, Unread):
        return Collected([], buses)
    archives = reader.items(ARCHIVES, "Archives", page_size=PAGE) if buses else []
    return Collected(reader.fan_out(lambda bus: _read_bus(reader, bus, archives), buses))


def _read_bus(reader: Reader, bus: Response, archives: Archives) -> Draft[EventBus]:
    arn = str(bus["Arn"])
    draft = bus_draft(bus, reader.account.cloud_account_id)
    fill_archives(draft, archives)
    described = reader.call(DESCRIBE, resource=arn, Name=arn)
    draft.take(described, DESCRIBED_FIELDS, _fill_description)
    fill_tags(draft, reader.call(TAGS, resource=arn, ResourceARN=arn))
    return draft


def bus_draft(bus: Response, own_account: str) -> Draft[EventBus]:
    """Map one bus by its place in the list."""
    policy = str(bus.get("Policy") or "")
    body = EventBus(
        bus_name=bus["Name"],
        policy=policy,
        policy_public=admits_everyone(policy),
        policy_cross_account=bool(foreign_accounts(policy, own_account)),
    )
    if (created := bus.get("CreationTime")) and body.bus_name != "default":
        body.creation_date.CopyFrom(timestamp(created))
    arn = str(bus["Arn"])
    return Draft(native_id=arn, arn=arn, body=body)


def _fill_description(body: EventBus, response: Response | None) -> None:
    bus: Any = response or {}
    body.log_level = bus.get("LogConfig", {}).get("Level") or OFF
    if description := bus.get("Description"):
        body.description = description
    if key := bus.get("KmsKeyIdentifier"):
        body.kms_key_id = key
    if queue := bus.get("DeadLetterConfig", {}).get("Arn"):
        body.dead_letter_target = queue


def fill_archives(draft: Draft[EventBus], archives: Archives) -> None:
    """Fill the archives of a bus from those of the region."""
    if isinstance(archives, Unread):
        draft.miss(archives, "archives")
        return
    draft.body.archives.extend(_archives(archives, draft.arn))


def _archives(archives: Iterable[Response], bus: str) -> list[EventBus.Archive]:
    own = [archive for archive in archives if archive.get("EventSourceArn") == bus]
    return [
        EventBus.Archive(
            archive_name=archive["ArchiveName"],
            state=archive.get("State", ""),
            retention_days=archive.get("RetentionDays") or 0,
        )
        for archive in sorted(own, key=lambda archive: str(archive["ArchiveName"]))
    ]


def fill_tags(draft: Draft[Any], answer: Answer) -> None:
    """Fill the tags of a bus or of a rule."""
    draft.take(answer, ("tags",), _fill_tags)


def _fill_tags(body: Any, response: Response | None) -> None:
    body.tags.update(tag_map((response or {}).get("Tags", ())))


COLLECTOR = Collector(
    "event_buses",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
