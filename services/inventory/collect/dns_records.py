"""Records of Route 53 that lead somewhere, and the load balancers that they may lead to."""

from functools import partial
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.route53_pb2 import DnsRecord
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.dns_targets import (
    Balancers,
    balancer_of,
    bucket_of,
    fill_balancers,
    plain,
    region_of,
)
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.hosted_zones import PAGE, PREFIX, ZONES

RECORDS = "route53:ListResourceRecordSets"
CLASSIC, BALANCERS = "elb:DescribeLoadBalancers", "elbv2:DescribeLoadBalancers"
LISTINGS = (ZONES, RECORDS)
OPERATIONS = frozenset((*LISTINGS, CLASSIC, BALANCERS))
RECORD_PAGE = 300
BALANCER_PAGE = 400
LEADING = ("A", "AAAA", "CNAME")
FIELDS = frozenset(DnsRecord.DESCRIPTOR.fields_by_name)
_BALANCER_KEYS = {CLASSIC: "LoadBalancerDescriptions", BALANCERS: "LoadBalancers"}


def collect(reader: Reader) -> Collected:
    """Read the records of all zones of an account."""
    zones = reader.items(ZONES, "HostedZones", page_size=PAGE, listing=True)
    reader.ledger.is_listing(RECORDS)
    if isinstance(zones, Unread):
        return Collected([], zones)
    drafts: list[Draft[DnsRecord]] = []
    gap: Unread | None = None
    for found in reader.fan_out(lambda zone: _of_zone(reader, zone), zones):
        if isinstance(found, Unread):
            gap = gap or found
        else:
            drafts.extend(draft for draft in found if draft is not None)
    fill_balancers(drafts, _balancers(reader, drafts))
    return Collected(drafts, gap)


def _of_zone(reader: Reader, zone: Response) -> list[Draft[DnsRecord] | None] | Unread:
    name = str(zone["Id"]).removeprefix(PREFIX)
    return reader.picked(
        RECORDS,
        "ResourceRecordSets",
        partial(record_draft, name),
        page_size=RECORD_PAGE,
        resource=f"arn:{reader.account.partition}:route53:::hostedzone/{name}",
        HostedZoneId=name,
    )


def record_draft(zone: str, record: Response) -> Draft[DnsRecord] | None:
    """Map one record of a zone; None of a type that leads nowhere."""
    if record["Type"] not in LEADING:
        return None
    alias: Any = record.get("AliasTarget")
    values = (
        [alias["DNSName"]]
        if alias
        else [each["Value"] for each in record.get("ResourceRecords") or ()]
    )
    body = DnsRecord(
        record_name=record["Name"],
        record_type=record["Type"],
        zone_id=zone,
        set_identifier=record.get("SetIdentifier") or None,
        alias=bool(alias),
        targets=sorted(values),
    )
    body.MergeFrom(
        DnsRecord(bucket_name=bucket_of(body) or None, load_balancer=balancer_of(body) or None)
    )
    key = "\0".join((zone, body.record_name, body.record_type, body.set_identifier))
    return Draft(native_id=key, body=body)


def _balancers(reader: Reader, drafts: list[Draft[DnsRecord]]) -> Balancers:
    """List the load balancers of the regions that records lead to."""
    named = sorted({region_of(draft.body.load_balancer) for draft in drafts} - {""})
    asked = [(operation, region) for region in named for operation in _BALANCER_KEYS]
    answers = iter(reader.fan_out(lambda each: _listed(reader, *each), asked))
    return {region: [next(answers) for _ in _BALANCER_KEYS] for region in named}


def _listed(reader: Reader, operation: str, region: str) -> frozenset[str] | Unread:
    found: set[str] = set()
    following: dict[str, str] = {}
    while True:
        page = reader.call(operation, region=region, PageSize=BALANCER_PAGE, **following)
        if isinstance(page, Unread):
            return page
        if isinstance(page, Absent):
            return frozenset(found)
        found.update(plain(each["DNSName"]) for each in page[_BALANCER_KEYS[operation]])
        if not page.get("NextMarker"):
            return frozenset(found)
        following = {"Marker": page["NextMarker"]}


COLLECTOR = Collector(
    "route53_records",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
