"""Hosted zones of Route 53: whether their answers are signed and their queries logged."""

from collections.abc import Mapping, Sequence
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.route53_pb2 import HostedZone
from services.inventory.collect.batches import batches
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map

ZONES = "route53:ListHostedZones"
ZONE = "route53:GetHostedZone"
DNSSEC = "route53:GetDNSSEC"
LOGGING = "route53:ListQueryLoggingConfigs"
TAGS = "route53:ListTagsForResources"
LISTINGS = (ZONES,)
OPERATIONS = frozenset((ZONES, ZONE, DNSSEC, LOGGING, TAGS))
PAGE = 100
TAGGED_AT_ONCE = 10
"""Zones of one call. Source: Amazon Route 53 API Reference, "ListTagsForResources"."""
PREFIX = "/hostedzone/"
ZONE_FIELDS = ("name_servers", "vpcs")
DNSSEC_FIELDS = ("dnssec_status", "signing_keys")
FIELDS = frozenset(HostedZone.DESCRIPTOR.fields_by_name)

Logging = Mapping[str, str] | Unread
"""Log group by zone."""


def collect(reader: Reader) -> Collected:
    """Read the zones of an account."""
    zones = reader.items(ZONES, "HostedZones", page_size=PAGE, listing=True)
    if isinstance(zones, Unread):
        return Collected([], zones)
    if not zones:
        return Collected([])
    logging = _logging(reader)
    read = reader.fan_out(lambda zone: _read(reader, zone, logging), zones)
    drafts = [draft for draft in read if draft is not None]
    reader.fan_out(lambda some: _read_tags(reader, some), batches(drafts, TAGGED_AT_ONCE))
    return Collected(drafts)


def _logging(reader: Reader) -> Logging:
    found = reader.items(LOGGING, "QueryLoggingConfigs", page_size=PAGE)
    if isinstance(found, Unread):
        return found
    return {_id(str(each["HostedZoneId"])): each["CloudWatchLogsLogGroupArn"] for each in found}


def _id(told: str) -> str:
    return told.removeprefix(PREFIX)


def _read(reader: Reader, listed: Response, logging: Logging) -> Draft[HostedZone] | None:
    draft = zone_draft(listed, reader.account.partition)
    zone = draft.body.zone_id
    answer = reader.call(ZONE, resource=draft.arn, Id=zone)
    if isinstance(answer, Absent):
        return None
    draft.take(answer, ZONE_FIELDS, fill_zone)
    if not draft.body.private:
        signed = reader.call(DNSSEC, resource=draft.arn, HostedZoneId=zone)
        draft.take(signed, DNSSEC_FIELDS, fill_dnssec)
    if isinstance(logging, Unread):
        draft.miss(logging, "query_log_group")
    elif group := logging.get(zone):
        draft.body.query_log_group = group
    return draft


def _read_tags(reader: Reader, drafts: Sequence[Draft[HostedZone]]) -> None:
    by_id = {draft.body.zone_id: draft for draft in drafts}
    answer = reader.call(TAGS, ResourceType="hostedzone", ResourceIds=list(by_id))
    if isinstance(answer, Unread):
        for draft in drafts:
            draft.miss(answer, "tags")
    elif not isinstance(answer, Absent):
        for told in answer["ResourceTagSets"]:
            if tagged := by_id.get(str(told["ResourceId"])):
                tagged.body.tags.update(tag_map(told.get("Tags") or ()))


def zone_draft(listed: Response, partition: str) -> Draft[HostedZone]:
    """Map one zone by its place in the list."""
    settings: Any = listed.get("Config") or {}
    linked: Any = listed.get("LinkedService") or {}
    body = HostedZone(
        zone_id=_id(str(listed["Id"])),
        zone_name=listed["Name"],
        private=settings.get("PrivateZone", False),
        comment=settings.get("Comment") or None,
        record_count=listed.get("ResourceRecordSetCount", 0),
        linked_service=linked.get("ServicePrincipal") or None,
    )
    arn = f"arn:{partition}:route53:::hostedzone/{body.zone_id}"
    return Draft(native_id=body.zone_id, arn=arn, body=body)


def fill_zone(body: HostedZone, response: Response | None) -> None:
    """Fill who answers, and whom."""
    told: Any = response or {}
    servers = (told.get("DelegationSet") or {}).get("NameServers", ())
    if not body.private:
        body.name_servers.extend(sorted(servers))
    body.vpcs.extend(sorted(f"{vpc['VPCRegion']}/{vpc['VPCId']}" for vpc in told.get("VPCs") or ()))


def fill_dnssec(body: HostedZone, response: Response | None) -> None:
    """Fill whether a public zone's answers are signed, and by what."""
    told: Any = response or {}
    if status := (told.get("Status") or {}).get("ServeSignature"):
        body.dnssec_status = status
    body.signing_keys.extend(
        sorted(key["KmsArn"] for key in told.get("KeySigningKeys") or () if key.get("KmsArn"))
    )


COLLECTOR = Collector(
    "route53",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
