"""Distributions of CloudFront: how viewers and origins are spoken to, and what is logged.

Sources: Amazon CloudFront API Reference, "DistributionConfig"; Developer Guide, "Standard
logging (v2)", whose deliveries are known to CloudWatch Logs alone.
"""

from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.cloudfront_pb2 import CloudfrontDistribution
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, any_of, tag_map, timestamp

LIST = "cloudfront:ListDistributions"
DETAILS = "cloudfront:GetDistribution"
CONTROLS = "cloudfront:ListOriginAccessControls"
TAGS = "cloudfront:ListTagsForResource"
SOURCES = "logs:DescribeDeliverySources"
DELIVERIES = "logs:DescribeDeliveries"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, DETAILS, CONTROLS, TAGS, SOURCES, DELIVERIES))
PAGE = 100
LOGS_PAGE = 50
LOGS_REGION = "us-east-1"
"""Where deliveries of CloudFront's logs are made, wherever they lead."""
FIELDS = frozenset(CloudfrontDistribution.DESCRIPTOR.fields_by_name)
DETAIL_FIELDS = ("standard_logging", "logging_bucket", "default_root_object")
DEFAULT_PATH = "*"
ACCESS_LOGS = "ACCESS_LOGS"
_S3, _CUSTOM, _VPC = "s3", "custom", "vpc"
_UNSIGNED = "never"
_HTTP_ONLY, _HTTPS_ONLY, _ALLOW_ALL = "http-only", "https-only", "allow-all"
_STRONG = frozenset({"TLSv1.2"})

Delivered = frozenset[str] | Unread
"""ARNs of distributions whose logs are delivered."""
Controls = dict[str, str] | Unread
"""Signing behavior by origin access control."""


def collect(reader: Reader) -> Collected:
    """Read the distributions of the account."""
    listed = reader.items(LIST, "DistributionList.Items", page_size=PAGE, listing=True)
    if isinstance(listed, Unread):
        return Collected([], listed)
    if not listed:
        return Collected([])
    controls, delivered = _controls(reader, listed), _delivered(reader)
    read = reader.fan_out(lambda each: _read(reader, each, controls, delivered), listed)
    return Collected([draft for draft in read if draft is not None])


def _controls(reader: Reader, listed: Iterable[Response]) -> Controls:
    if not any(origin.get("OriginAccessControlId") for each in listed for origin in _origins(each)):
        return {}
    found = reader.items(CONTROLS, "OriginAccessControlList.Items", page_size=PAGE)
    if isinstance(found, Unread):
        return found
    return {str(each["Id"]): str(each.get("SigningBehavior", "")) for each in found}


def _delivered(reader: Reader) -> Delivered:
    sources = reader.items(SOURCES, "deliverySources", page_size=LOGS_PAGE, region=LOGS_REGION)
    if isinstance(sources, Unread):
        return sources
    logged = [each for each in sources if each.get("logType") == ACCESS_LOGS]
    if not logged:
        return frozenset()
    deliveries = reader.picked(
        DELIVERIES,
        "deliveries",
        lambda each: str(each.get("deliverySourceName", "")),
        page_size=LOGS_PAGE,
        region=LOGS_REGION,
    )
    if isinstance(deliveries, Unread):
        return deliveries
    # A source alone delivers nothing.
    return frozenset(
        str(arn)
        for source in logged
        if source.get("name") in deliveries
        for arn in source.get("resourceArns", ())
    )


def _read(
    reader: Reader, listed: Response, controls: Controls, delivered: Delivered
) -> Draft[CloudfrontDistribution] | None:
    arn = str(listed["ARN"])
    details = reader.call(DETAILS, resource=arn, Id=listed["Id"])
    if isinstance(details, Absent):
        # Deleted since it was listed.
        return None
    tags = reader.call(TAGS, resource=arn, Resource=arn)
    return distribution_draft(listed, details, tags, controls, delivered)


def distribution_draft(
    listed: Response, details: Answer, tags: Answer, controls: Controls, delivered: Delivered
) -> Draft[CloudfrontDistribution]:
    """Map one distribution: its place in the list, its details, tags and what others know of it."""
    arn = str(listed["ARN"])
    draft = Draft(native_id=str(listed["Id"]), arn=arn, body=_listed(listed))
    draft.take(details, DETAIL_FIELDS, _fill_details)
    draft.take(tags, ("tags",), _fill_tags)
    unsigned = _unsigned(draft.body, controls)
    if isinstance(unsigned, Unread):
        draft.miss(unsigned, "unsigned_origins")
    else:
        draft.body.unsigned_origins.extend(unsigned)
    taken: Truth = delivered if isinstance(delivered, Unread) else arn in delivered
    draft.decide("logs_delivered", taken)
    ways = (draft.truth("standard_logging"), bool(draft.body.realtime_logs), taken)
    draft.decide("access_logged", any_of(ways))
    return draft


def _listed(listed: Any) -> CloudfrontDistribution:
    certificate = listed.get("ViewerCertificate", {})
    restriction = listed.get("Restrictions", {}).get("GeoRestriction", {})
    own = certificate.get("ACMCertificateArn") or certificate.get("IAMCertificateId") or None
    behaviors = _behaviors(listed)
    body = CloudfrontDistribution(
        distribution_id=listed["Id"],
        domain_name=listed.get("DomainName", ""),
        aliases=sorted(_items(listed.get("Aliases"))),
        enabled=listed.get("Enabled", False),
        status=listed.get("Status", ""),
        behaviors=[_behavior(each) for each in behaviors],
        custom_certificate=own is not None,
        certificate=own,
        min_tls_version=certificate.get("MinimumProtocolVersion") or None,
        origins=[_origin(each) for each in _origins(listed)],
        realtime_logs=sorted({arn for b in behaviors if (arn := b.get("RealtimeLogConfigArn"))}),
        web_acl=listed.get("WebACLId") or None,
        geo_restriction=restriction.get("RestrictionType", "none"),
        geo_countries=sorted(_items(restriction)),
        http_version=str(listed.get("HttpVersion", "")).lower(),
        staging=listed.get("Staging", False),
    )
    if modified := listed.get("LastModifiedTime"):
        body.last_modified.CopyFrom(timestamp(modified))
    body.weak_tls_origins.extend(
        origin.origin_id for origin in body.origins if _is_weak(origin, body)
    )
    return body


def _items(part: Any) -> list[Any]:
    return (part or {}).get("Items") or []


def _origins(listed: Response) -> list[Response]:
    return _items(listed.get("Origins"))


def _behaviors(listed: Response) -> list[Response]:
    default = {"PathPattern": DEFAULT_PATH, **listed.get("DefaultCacheBehavior", {})}
    return [*_items(listed.get("CacheBehaviors")), default]


def _behavior(behavior: Response) -> CloudfrontDistribution.Behavior:
    return CloudfrontDistribution.Behavior(
        path_pattern=behavior["PathPattern"],
        viewer_protocol_policy=behavior.get("ViewerProtocolPolicy", ""),
        target_origin=behavior.get("TargetOriginId", ""),
        response_headers_policy=behavior.get("ResponseHeadersPolicyId", ""),
    )


def _origin(origin: Response) -> CloudfrontDistribution.Origin:
    custom: Any = origin.get("CustomOriginConfig") or {}
    identity: Any = origin.get("S3OriginConfig") or {}
    inside = "VpcOriginConfig" in origin
    sort = _VPC if inside else _CUSTOM if custom else _S3
    return CloudfrontDistribution.Origin(
        origin_id=origin["Id"],
        domain=origin.get("DomainName", ""),
        sort=sort,
        protocol_policy=custom.get("OriginProtocolPolicy", ""),
        ssl_protocols=sorted(_items(custom.get("OriginSslProtocols"))),
        access_control=origin.get("OriginAccessControlId", ""),
        access_identity=identity.get("OriginAccessIdentity", ""),
    )


def _is_weak(origin: CloudfrontDistribution.Origin, body: CloudfrontDistribution) -> bool:
    if origin.sort != _CUSTOM:
        return False
    if origin.protocol_policy == _HTTP_ONLY or set(origin.ssl_protocols) != _STRONG:
        return True
    if origin.protocol_policy == _HTTPS_ONLY:
        return False
    # It is asked as the viewer asked. Groups of origins are not followed, so every behavior counts.
    return any(each.viewer_protocol_policy == _ALLOW_ALL for each in body.behaviors)


def _unsigned(body: CloudfrontDistribution, controls: Controls) -> list[str] | Unread:
    found = []
    for origin in body.origins:
        if origin.sort != _S3 or origin.access_identity:
            continue
        if not origin.access_control:
            found.append(origin.origin_id)
        elif isinstance(controls, Unread):
            return controls
        elif controls.get(origin.access_control, _UNSIGNED) == _UNSIGNED:
            found.append(origin.origin_id)
    return found


def _fill_details(body: CloudfrontDistribution, response: Response | None) -> None:
    config = (response or {}).get("Distribution", {}).get("DistributionConfig", {})
    logging = config.get("Logging", {})
    body.standard_logging = bool(logging.get("Enabled", False))
    if bucket := logging.get("Bucket"):
        body.logging_bucket = bucket
    if root := config.get("DefaultRootObject"):
        body.default_root_object = root


def _fill_tags(body: CloudfrontDistribution, response: Response | None) -> None:
    body.tags.update(tag_map(_items((response or {}).get("Tags"))))


COLLECTOR = Collector(
    "cloudfront",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
