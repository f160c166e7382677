"""Where DNS records lead: to buckets and load balancers that the account has or has not."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mesh.aws.reader import Unread
from secmesh.inventory.v1.route53_pb2 import DnsRecord
from services.inventory.collect.derive import BUCKETS
from services.inventory.collect.draft import Draft, Truth, any_of, negate
from services.inventory.collect.s3_buckets import LIST
from services.inventory.collect.source import GLOBAL, Sources

DUALSTACK = "dualstack."
_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d+"
_END = r"\.amazonaws\.com(?:\.cn)?"
# Source: Amazon S3 User Guide, "Website endpoints", "Virtual hosting of general purpose buckets".
_BUCKET = re.compile(rf"(?:(?P<bucket>.+)\.)?s3(?:-website)?(?:[.-]{_REGION})?{_END}")
# Of application, classic and network load balancers.
_BALANCER = re.compile(rf"[^.]+\.(?:(?P<before>{_REGION})\.elb|elb\.(?P<behind>{_REGION})){_END}")

Balancers = Mapping[str, Iterable[frozenset[str] | Unread]]
"""By region: the DNS names of each listing, or why it was not read."""


def plain(name: str) -> str:
    """Give a DNS name as it is compared: in lower case, without the dot at its end."""
    return name.lower().removesuffix(".")


def bucket_of(record: DnsRecord) -> str:
    """Give the bucket that a record leads to; empty if it leads to none."""
    for target in map(plain, record.targets):
        if found := _BUCKET.fullmatch(target):
            # An endpoint alone serves the bucket that bears the name that was asked for.
            return found["bucket"] or plain(record.record_name)
    return ""


def balancer_of(record: DnsRecord) -> str:
    """Give the DNS name of the load balancer that a record leads to; empty if it leads to none."""
    for target in map(plain, record.targets):
        name = target.removeprefix(DUALSTACK)
        if _BALANCER.fullmatch(name):
            return name
    return ""


def region_of(balancer: str) -> str:
    """Give the region of a load balancer by its DNS name; empty if it is none's."""
    found = _BALANCER.fullmatch(balancer)
    return str(found["before"] or found["behind"]) if found else ""


def fill_balancers(drafts: Iterable[Draft[DnsRecord]], balancers: Balancers) -> None:
    """Tell of each record that leads to a load balancer whether the account has it not."""
    for draft in drafts:
        if name := draft.body.load_balancer:
            listings = balancers[region_of(name)]
            truths: list[Truth] = [
                each if isinstance(each, Unread) else name in each for each in listings
            ]
            draft.decide("dangling", negate(any_of(truths)))


def fill_dangling(drafts: list[Draft[Any]], sources: Sources) -> None:
    """Tell of each record that leads to a bucket whether the account has it not."""
    buckets = sources[BUCKETS]
    known = {draft.body.bucket_name for draft in buckets.drafts}
    for draft in drafts:
        if name := draft.body.bucket_name:
            missing: Truth = name not in known and (buckets.gap(GLOBAL, LIST) or True)
            draft.decide("dangling", missing)
