"""Clusters of EKS: who reaches their API, what is logged, and until when AWS mends the version."""

from collections.abc import Callable, Mapping
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.eks_pb2 import EksCluster
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

LIST = "eks:ListClusters"
VERSIONS = "eks:DescribeClusterVersions"
DESCRIBE = "eks:DescribeCluster"
NODEGROUPS = "eks:ListNodegroups"
NODEGROUP = "eks:DescribeNodegroup"
FARGATE = "eks:ListFargateProfiles"
ADDONS = "eks:ListAddons"
ADDON = "eks:DescribeAddon"
ENTRIES = "eks:ListAccessEntries"
IDENTITIES = "eks:ListPodIdentityAssociations"
LISTINGS = (LIST,)
OPERATIONS = frozenset(
    (
        *(LIST, VERSIONS, DESCRIBE, NODEGROUPS, NODEGROUP),
        *(FARGATE, ADDONS, ADDON, ENTRIES, IDENTITIES),
    )
)
PAGE = 100
EVERYWHERE = "0.0.0.0/0"
SUPPORT_END = "standard_support_end"
PART_FIELDS = ("nodegroups", "fargate_profiles", "addons", "access_entries", "pod_identities")
FIELDS = frozenset(EksCluster.DESCRIPTOR.fields_by_name)
DESCRIBED_FIELDS = tuple(sorted(FIELDS - {"cluster_name", SUPPORT_END, *PART_FIELDS}))

Versions = Mapping[str, Response] | Unread
"""By version."""


def collect(reader: Reader) -> Collected:
    """Read the clusters of one region."""
    names = reader.picked(LIST, "clusters", str, page_size=PAGE)
    reader.ledger.is_listing(LIST)
    if isinstance(names, Unread):
        return Collected([], names)
    versions = _versions(reader) if names else {}
    read = reader.fan_out(lambda name: _read_cluster(reader, name, versions), names)
    return Collected([draft for draft in read if draft is not None])


def _versions(reader: Reader) -> Versions:
    # Without includeAll the versions that are out of support are left out.
    listed = reader.items(VERSIONS, "clusterVersions", page_size=PAGE, includeAll=True)
    if isinstance(listed, Unread):
        return listed
    return {str(version["clusterVersion"]): version for version in listed}


def _read_cluster(reader: Reader, name: str, versions: Versions) -> Draft[EksCluster] | None:
    account = reader.account
    arn = f"arn:{account.partition}:eks:{reader.region}:{account.cloud_account_id}:cluster/{name}"
    described = reader.call(DESCRIBE, resource=arn, name=name)
    if isinstance(described, Absent):
        return None
    draft = cluster_draft(name, arn, described)
    fill_support(draft, versions)
    _fill_described(reader, draft, "nodegroups", (NODEGROUPS, NODEGROUP), node_group)
    _fill_described(reader, draft, "addons", (ADDONS, ADDON), addon)
    _fill_named(reader, draft, "fargate_profiles", (FARGATE, "fargateProfileNames"), str)
    _fill_named(reader, draft, "access_entries", (ENTRIES, "accessEntries"), str)
    _fill_named(reader, draft, "pod_identities", (IDENTITIES, "associations"), _identity)
    return draft


def cluster_draft(name: str, arn: str, described: Answer) -> Draft[EksCluster]:
    """Map what DescribeCluster tells of one cluster."""
    draft = Draft(native_id=name, arn=arn, body=EksCluster(cluster_name=name))
    draft.take(described, DESCRIBED_FIELDS, _fill_cluster)
    return draft


def _fill_cluster(body: EksCluster, response: Response | None) -> None:
    cluster: Any = (response or {})["cluster"]
    body.version = cluster.get("version", "")
    body.platform_version = cluster.get("platformVersion", "")
    body.status = cluster.get("status", "")
    body.role = cluster.get("roleArn", "")
    if created := cluster.get("createdAt"):
        body.creation_date.CopyFrom(timestamp(created))
    if follows := cluster.get("upgradePolicy", {}).get("supportType"):
        body.support_type = follows
    if issuer := cluster.get("identity", {}).get("oidc", {}).get("issuer"):
        body.oidc_issuer = issuer
    if mode := cluster.get("accessConfig", {}).get("authenticationMode"):
        body.authentication_mode = mode
    body.deletion_protection = cluster.get("deletionProtection", False)
    body.tags.update(cluster.get("tags") or {})
    for each in cluster.get("encryptionConfig") or ():
        if "secrets" in each.get("resources", ()):
            body.secrets_encryption_key = each.get("provider", {}).get("keyArn", "")
    kept = cluster.get("logging", {}).get("clusterLogging", ())
    types = {name for each in kept if each.get("enabled") for name in each.get("types", ())}
    body.logging_types.extend(sorted(types))
    _fill_network(body, cluster.get("resourcesVpcConfig", {}))


def _fill_network(body: EksCluster, network: Any) -> None:
    body.endpoint_public = network.get("endpointPublicAccess", True)
    body.endpoint_private = network.get("endpointPrivateAccess", False)
    if body.endpoint_public:
        # EKS lets everyone in unless networks are named.
        body.public_cidrs.extend(sorted(network.get("publicAccessCidrs") or (EVERYWHERE,)))
    if vpc := network.get("vpcId"):
        body.vpc_id = vpc
    body.subnets.extend(sorted(network.get("subnetIds", ())))
    groups = {*network.get("securityGroupIds", ()), network.get("clusterSecurityGroupId", "")}
    body.security_groups.extend(sorted(groups - {""}))


def fill_support(draft: Draft[EksCluster], versions: Versions) -> None:
    """Fill until when the version of a cluster is supported."""
    if gap := draft.unread.get("version"):
        draft.miss(gap, SUPPORT_END)
    elif isinstance(versions, Unread):
        draft.miss(versions, SUPPORT_END)
    elif ends := versions.get(draft.body.version, {}).get("endOfStandardSupportDate"):
        draft.body.standard_support_end.CopyFrom(timestamp(ends))


def _fill_named(
    reader: Reader,
    draft: Draft[EksCluster],
    field: str,
    read: tuple[str, str],
    pick: Callable[[Any], str],
) -> None:
    """Fill a field with what an operation lists under a key, in an order of its own."""
    operation, key = read
    name = draft.body.cluster_name
    found = reader.picked(
        operation, key, pick, page_size=PAGE, resource=draft.arn, clusterName=name
    )
    if isinstance(found, Unread):
        draft.miss(found, field)
    else:
        getattr(draft.body, field).extend(sorted(found))


def _identity(association: Response) -> str:
    return f"{association.get('namespace', '')}/{association.get('serviceAccount', '')}"


def _fill_described(
    reader: Reader,
    draft: Draft[EksCluster],
    field: str,
    read: tuple[str, str],
    mapped: Callable[[Response], object],
) -> None:
    """Fill a field with parts that are listed by name and described one by one."""
    listing, describing = read
    owner, arn = draft.body.cluster_name, draft.arn
    names = reader.picked(listing, field, str, page_size=PAGE, resource=arn, clusterName=owner)
    if isinstance(names, Unread):
        draft.miss(names, field)
        return
    part = field.removesuffix("s")
    parts: list[object] = []
    for name in sorted(names):
        asked = {"clusterName": owner, f"{part}Name": name}
        answer = reader.call(describing, resource=arn, **asked)
        if isinstance(answer, Unread):
            draft.miss(answer, field)
            return
        # A part that went away since it was listed is none.
        if not isinstance(answer, Absent):
            parts.append(mapped(answer[part]))
    getattr(draft.body, field).extend(parts)


def node_group(group: Response) -> EksCluster.NodeGroup:
    """Map one group of nodes."""
    access: Any = group.get("remoteAccess") or {}
    reachable = bool(access.get("ec2SshKey"))
    return EksCluster.NodeGroup(
        nodegroup_name=group["nodegroupName"],
        version=group.get("version", ""),
        release_version=group.get("releaseVersion", ""),
        ami_type=group.get("amiType", ""),
        status=group.get("status", ""),
        remote_access=reachable,
        remote_access_open=reachable and not access.get("sourceSecurityGroups"),
    )


def addon(told: Response) -> EksCluster.Addon:
    """Map one add-on."""
    return EksCluster.Addon(
        addon_name=told["addonName"],
        version=told.get("addonVersion", ""),
        status=told.get("status", ""),
    )


COLLECTOR = Collector(
    "eks_clusters",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
