"""Load balancers of both generations: who reaches them, and what of that is logged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.load_balancers_pb2 import LoadBalancer
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

BALANCERS = "elbv2:DescribeLoadBalancers"
ATTRIBUTES = "elbv2:DescribeLoadBalancerAttributes"
TAGS = "elbv2:DescribeTags"
WEB_ACL = "wafv2:GetWebACLForResource"
CLASSIC = "elb:DescribeLoadBalancers"
CLASSIC_ATTRIBUTES = "elb:DescribeLoadBalancerAttributes"
CLASSIC_TAGS = "elb:DescribeTags"
LISTINGS = (BALANCERS, CLASSIC)
OPERATIONS = frozenset((*LISTINGS, ATTRIBUTES, TAGS, WEB_ACL, CLASSIC_ATTRIBUTES, CLASSIC_TAGS))
PAGE = 400
TAG_BATCH = 20
"""Load balancers that one DescribeTags call takes."""
APPLICATION, CLASSIC_TYPE = "application", "classic"
INTERNET = "internet-facing"
TRUE = "true"
DESYNC = "elb.http.desyncmitigationmode"
LOG_FIELDS = ("access_logs", "access_log_bucket")
ATTRIBUTE_FIELDS = (
    *LOG_FIELDS,
    "deletion_protection",
    "drop_invalid_headers",
    "desync_mode",
    "cross_zone",
)
CLASSIC_FIELDS = (*LOG_FIELDS, "desync_mode", "cross_zone")
FIELDS = frozenset(LoadBalancer.DESCRIPTOR.fields_by_name)

Items = list[Response] | Unread
Drafts = list[Draft[LoadBalancer]]


def collect(reader: Reader) -> Collected:
    """Read the load balancers of one region."""
    balancers, classic = read_balancers(reader)
    drafts: Drafts = []
    if not isinstance(balancers, Unread):
        found = reader.fan_out(lambda each: _read_balancer(reader, each), balancers)
        drafts += _tagged(found, lambda batch: _read_tags(reader, batch))
    if not isinstance(classic, Unread):
        found = reader.fan_out(lambda each: _read_classic(reader, each), classic)
        drafts += _tagged(found, lambda batch: _read_classic_tags(reader, batch))
    return Collected(drafts, unlisted(balancers, classic))


def read_balancers(reader: Reader) -> tuple[Items, Items]:
    """List the load balancers of the second and of the first generation."""
    balancers = reader.items(BALANCERS, "LoadBalancers", page_size=PAGE, listing=True)
    classic = reader.items(CLASSIC, "LoadBalancerDescriptions", page_size=PAGE, listing=True)
    return balancers, classic


def unlisted(*listings: Items) -> Unread | None:
    """Give the first listing that was not read."""
    return next((each for each in listings if isinstance(each, Unread)), None)


def classic_arn(reader: Reader, name: str) -> str:
    """Give the ARN of a classic load balancer, which AWS does not tell."""
    account = reader.account
    owner = f"{reader.region}:{account.cloud_account_id}"
    return f"arn:{account.partition}:elasticloadbalancing:{owner}:loadbalancer/{name}"


def _read_balancer(reader: Reader, balancer: Response) -> Draft[LoadBalancer] | None:
    arn = str(balancer["LoadBalancerArn"])
    attributes = reader.call(ATTRIBUTES, resource=arn, LoadBalancerArn=arn)
    if isinstance(attributes, Absent):
        # Deleted since it was listed.
        return None
    draft = balancer_draft(balancer)
    draft.take(attributes, ATTRIBUTE_FIELDS, fill_attributes)
    if draft.body.load_balancer_type == APPLICATION:
        draft.take(reader.call(WEB_ACL, resource=arn, ResourceArn=arn), ("web_acl",), _fill_acl)
    return draft


def balancer_draft(balancer: Response) -> Draft[LoadBalancer]:
    """Map one load balancer of the second generation by its place in the list."""
    arn = str(balancer["LoadBalancerArn"])
    zones: Iterable[Any] = balancer.get("AvailabilityZones", ())
    body = LoadBalancer(
        load_balancer_name=balancer["LoadBalancerName"],
        load_balancer_type=balancer.get("Type", APPLICATION),
        internet_facing=balancer.get("Scheme") == INTERNET,
        dns_name=balancer.get("DNSName") or None,
        vpc_id=balancer.get("VpcId") or None,
        state=balancer.get("State", {}).get("Code"),
        security_groups=sorted(balancer.get("SecurityGroups", ())),
        subnets=sorted(zone["SubnetId"] for zone in zones if "SubnetId" in zone),
        ip_address_type=balancer.get("IpAddressType"),
    )
    if made := balancer.get("CreatedTime"):
        body.creation_date.CopyFrom(timestamp(made))
    return Draft(native_id=arn, arn=arn, body=body)


def fill_attributes(body: LoadBalancer, response: Response | None) -> None:
    """Fill what the attributes tell that its kind has."""
    told = {each["Key"]: each.get("Value", "") for each in (response or {}).get("Attributes", ())}
    body.access_logs = told.get("access_logs.s3.enabled") == TRUE
    if body.access_logs and (bucket := told.get("access_logs.s3.bucket")):
        body.access_log_bucket = bucket
    body.deletion_protection = told.get("deletion_protection.enabled") == TRUE
    if headers := told.get("routing.http.drop_invalid_header_fields.enabled"):
        body.drop_invalid_headers = headers == TRUE
    if mode := told.get("routing.http.desync_mitigation_mode"):
        body.desync_mode = mode
    # An application load balancer always does, and does not say so.
    application = body.load_balancer_type == APPLICATION
    body.cross_zone = application or told.get("load_balancing.cross_zone.enabled") == TRUE


def _fill_acl(body: LoadBalancer, response: Response | None) -> None:
    if arn := (response or {}).get("WebACL", {}).get("ARN"):
        body.web_acl = arn


def _read_classic(reader: Reader, balancer: Response) -> Draft[LoadBalancer] | None:
    name = str(balancer["LoadBalancerName"])
    draft = classic_draft(balancer, classic_arn(reader, name))
    answer = reader.call(CLASSIC_ATTRIBUTES, resource=draft.arn, LoadBalancerName=name)
    if isinstance(answer, Absent):
        return None
    draft.take(answer, CLASSIC_FIELDS, fill_classic_attributes)
    return draft


def classic_draft(balancer: Response, arn: str) -> Draft[LoadBalancer]:
    """Map one classic load balancer by its place in the list."""
    body = LoadBalancer(
        load_balancer_name=balancer["LoadBalancerName"],
        load_balancer_type=CLASSIC_TYPE,
        internet_facing=balancer.get("Scheme") == INTERNET,
        dns_name=balancer.get("DNSName") or None,
        vpc_id=balancer.get("VPCId") or None,
        security_groups=sorted(balancer.get("SecurityGroups", ())),
        subnets=sorted(balancer.get("Subnets", ())),
    )
    if made := balancer.get("CreatedTime"):
        body.creation_date.CopyFrom(timestamp(made))
    return Draft(native_id=arn, arn=arn, body=body)


def fill_classic_attributes(body: LoadBalancer, response: Response | None) -> None:
    """Fill what the attributes of a classic load balancer tell."""
    told: Any = (response or {}).get("LoadBalancerAttributes", {})
    log = told.get("AccessLog", {})
    body.access_logs = bool(log.get("Enabled", False))
    if body.access_logs and (bucket := log.get("S3BucketName")):
        body.access_log_bucket = bucket
    body.cross_zone = bool(told.get("CrossZoneLoadBalancing", {}).get("Enabled", False))
    for each in told.get("AdditionalAttributes", ()):
        if each.get("Key") == DESYNC:
            body.desync_mode = each.get("Value", "")


def _tagged(found: Iterable[Draft[LoadBalancer] | None], read: Callable[[Drafts], None]) -> Drafts:
    drafts = [draft for draft in found if draft is not None]
    for batch in _batches(drafts):
        read(batch)
    return drafts


def _batches(drafts: Sequence[Draft[LoadBalancer]]) -> Iterator[Drafts]:
    for start in range(0, len(drafts), TAG_BATCH):
        yield list(drafts[start : start + TAG_BATCH])


def _read_tags(reader: Reader, batch: Drafts) -> None:
    arns = [draft.arn for draft in batch]
    answer = reader.items(TAGS, "TagDescriptions", resource=arns[0], ResourceArns=arns)
    fill_tags(batch, answer, "ResourceArn", arns)


def _read_classic_tags(reader: Reader, batch: Drafts) -> None:
    names = [draft.body.load_balancer_name for draft in batch]
    answer = reader.items(
        CLASSIC_TAGS, "TagDescriptions", resource=batch[0].arn, LoadBalancerNames=names
    )
    fill_tags(batch, answer, "LoadBalancerName", names)


def fill_tags(batch: Drafts, answer: Items, member: str, keys: Sequence[str]) -> None:
    """Give each load balancer its tags from one answer about all of them."""
    if isinstance(answer, Unread):
        for draft in batch:
            draft.miss(answer, "tags")
        return
    tags = {each[member]: each.get("Tags", ()) for each in answer}
    for draft, key in zip(batch, keys, strict=True):
        draft.body.tags.update(tag_map(tags.get(key, ())))


COLLECTOR = Collector(
    "load_balancers",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
