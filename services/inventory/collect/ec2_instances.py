"""Instances of EC2: their addresses, their metadata service, and the templates they come from.

A terminated instance is listed for an hour and counts as gone. User data is never read, and of
launch templates only what they say of the metadata service is kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.ec2_instance_pb2 import Ec2Instance
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

LIST = "ec2:DescribeInstances"
TEMPLATES = "ec2:DescribeLaunchTemplateVersions"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, TEMPLATES))
PAGE = 1000
TEMPLATE_PAGE = 200
GONE = frozenset({"shutting-down", "terminated"})
TEMPLATE_TAG = "aws:ec2launchtemplate:id"
REQUIRED, OPTIONAL = "required", "optional"
ON = frozenset({"enabled", "pending"})
FIELDS = frozenset(Ec2Instance.DESCRIPTOR.fields_by_name)

Templates = Mapping[str, set[str]] | Unread
"""By template: what its versions say of session tokens, empty for nothing."""


def collect(reader: Reader) -> Collected:
    """Read the instances of one region."""
    reservations = reader.picked(
        LIST, "Reservations", lambda each: list(each.get("Instances", ())), page_size=PAGE
    )
    reader.ledger.is_listing(LIST)
    if isinstance(reservations, Unread):
        return Collected([], reservations)
    account = reader.account
    prefix = f"arn:{account.partition}:ec2:{reader.region}:{account.cloud_account_id}:instance/"
    drafts = [
        instance_draft(instance, prefix)
        for instances in reservations
        for instance in instances
        if instance["State"]["Name"] not in GONE
    ]
    if any(draft.body.launch_template_id for draft in drafts):
        fill_templates(drafts, _templates(reader))
    return Collected(drafts)


def _templates(reader: Reader) -> Templates:
    versions = reader.picked(
        TEMPLATES,
        "LaunchTemplateVersions",
        tokens_of,
        page_size=TEMPLATE_PAGE,
        Versions=["$Default", "$Latest"],
    )
    if isinstance(versions, Unread):
        return versions
    found: dict[str, set[str]] = {}
    for template, tokens in versions:
        found.setdefault(template, set()).add(tokens)
    return found


def tokens_of(version: Response) -> tuple[str, str]:
    """Give of a template's version its template and what it says of session tokens."""
    data: Any = version.get("LaunchTemplateData") or {}
    options = data.get("MetadataOptions") or {}
    return str(version["LaunchTemplateId"]), str(options.get("HttpTokens", ""))


def instance_draft(instance: Any, prefix: str) -> Draft[Ec2Instance]:
    """Map one instance; ``prefix`` begins the ARNs of its account and region."""
    tags = tag_map(instance.get("Tags", ()))
    body = Ec2Instance(
        instance_id=instance["InstanceId"],
        state=instance["State"]["Name"],
        instance_type=instance.get("InstanceType", ""),
        image_id=instance.get("ImageId") or None,
        platform=instance.get("PlatformDetails") or instance.get("Platform") or None,
        architecture=instance.get("Architecture") or None,
        launch_template_id=tags.get(TEMPLATE_TAG),
        vpc_id=instance.get("VpcId") or None,
        subnet_id=instance.get("SubnetId") or None,
        iam_profile=(instance.get("IamInstanceProfile") or {}).get("Arn"),
        key_name=instance.get("KeyName") or None,
        monitoring=(instance.get("Monitoring") or {}).get("State") in ON,
        ebs_optimized=bool(instance.get("EbsOptimized")),
        enclaves=bool((instance.get("EnclaveOptions") or {}).get("Enabled")),
        tags=tags,
    )
    if launched := instance.get("LaunchTime"):
        body.launch_time.CopyFrom(timestamp(launched))
    _fill_metadata(body, instance.get("MetadataOptions") or {})
    _fill_network(body, instance)
    return Draft(native_id=body.instance_id, arn=prefix + body.instance_id, body=body)


def _fill_metadata(body: Ec2Instance, options: Any) -> None:
    body.http_tokens = options.get("HttpTokens", OPTIONAL)
    body.http_endpoint = options.get("HttpEndpoint", "enabled")
    if hops := options.get("HttpPutResponseHopLimit"):
        body.http_hop_limit = hops


def _fill_network(body: Ec2Instance, instance: Any) -> None:
    interfaces = instance.get("NetworkInterfaces", ())
    addresses = {instance.get("PublicIpAddress"), *_public_addresses(interfaces)}
    body.public_ips.extend(sorted(filter(None, addresses)))
    six = {each["Ipv6Address"] for nic in interfaces for each in nic.get("Ipv6Addresses", ())}
    body.ipv6_addresses.extend(sorted(six))
    guarded = (instance.get("SecurityGroups", ()), *(nic.get("Groups", ()) for nic in interfaces))
    body.security_groups.extend(sorted({each["GroupId"] for groups in guarded for each in groups}))


def _public_addresses(interfaces: Iterable[Any]) -> Iterable[str | None]:
    for interface in interfaces:
        for place in (interface, *interface.get("PrivateIpAddresses", ())):
            yield (place.get("Association") or {}).get("PublicIp")


def fill_templates(drafts: Iterable[Draft[Ec2Instance]], templates: Templates) -> None:
    """Fill what the launch template of each instance says of session tokens."""
    for draft in drafts:
        if not draft.body.launch_template_id:
            continue
        if isinstance(templates, Unread):
            draft.miss(templates, "template_http_tokens")
            continue
        said = templates.get(draft.body.launch_template_id, set())
        if OPTIONAL in said:
            draft.body.template_http_tokens = OPTIONAL
        elif said == {REQUIRED}:
            draft.body.template_http_tokens = REQUIRED


COLLECTOR = Collector(
    "ec2_instances",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
