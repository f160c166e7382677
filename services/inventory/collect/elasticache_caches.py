"""Caches of ElastiCache: replication groups, and clusters that belong to none."""

from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.elasticache_pb2 import ElasticacheCache
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

GROUPS = "elasticache:DescribeReplicationGroups"
CLUSTERS = "elasticache:DescribeCacheClusters"
TAGS = "elasticache:ListTagsForResource"
LISTINGS = (GROUPS, CLUSTERS)
OPERATIONS = frozenset((*LISTINGS, TAGS))
PAGE = 100
ENABLED = "enabled"
MEMBER_FIELDS = ("engine_version", "subnet_group", "security_groups")
"""What only the clusters of a replication group tell."""
FIELDS = frozenset(ElasticacheCache.DESCRIPTOR.fields_by_name)

Items = list[Response] | Unread


def collect(reader: Reader) -> Collected:
    """Read the caches of one region."""
    groups = reader.items(GROUPS, "ReplicationGroups", page_size=PAGE, listing=True)
    clusters = reader.items(CLUSTERS, "CacheClusters", page_size=PAGE, listing=True)
    drafts: list[Draft[ElasticacheCache]] = []
    if not isinstance(groups, Unread):
        drafts += [group_draft(group, clusters) for group in groups]
    if not isinstance(clusters, Unread):
        alone = (each for each in clusters if not each.get("ReplicationGroupId"))
        drafts += map(cluster_draft, alone)
    reader.fan_out(lambda draft: _read_tags(reader, draft), drafts)
    gap = next((each for each in (groups, clusters) if isinstance(each, Unread)), None)
    return Collected(drafts, gap)


def _read_tags(reader: Reader, draft: Draft[ElasticacheCache]) -> None:
    answer = reader.call(TAGS, resource=draft.arn, ResourceName=draft.arn)
    if isinstance(answer, Unread):
        draft.miss(answer, "tags")
    elif not isinstance(answer, Absent):
        draft.body.tags.update(tag_map(answer.get("TagList", ())))


def group_draft(group: Response, clusters: Items) -> Draft[ElasticacheCache]:
    """Map one replication group, with what its members tell."""
    members = group.get("MemberClusters", ())
    body = ElasticacheCache(
        cache_id=group["ReplicationGroupId"],
        cache_type="replication-group",
        engine=group.get("Engine") or "redis",
        node_count=len(members),
        kms_key_id=group.get("KmsKeyId") or None,
        user_groups=sorted(group.get("UserGroupIds", ())),
        automatic_failover=group.get("AutomaticFailover") == ENABLED,
        multi_az=group.get("MultiAZ") == ENABLED,
    )
    _fill_shared(body, group, group.get("Status"), group.get("ReplicationGroupCreateTime"))
    draft = Draft(native_id=str(group["ARN"]), arn=str(group["ARN"]), body=body)
    if isinstance(clusters, Unread):
        draft.miss(clusters, *MEMBER_FIELDS)
    else:
        _fill_members(body, (each for each in clusters if each["CacheClusterId"] in members))
    return draft


def cluster_draft(cluster: Response) -> Draft[ElasticacheCache]:
    """Map one cluster that belongs to no replication group."""
    body = ElasticacheCache(
        cache_id=cluster["CacheClusterId"],
        cache_type="cluster",
        engine=cluster.get("Engine"),
        node_count=cluster.get("NumCacheNodes"),
        automatic_failover=False,
        multi_az=cluster.get("PreferredAvailabilityZone") == "Multiple",
    )
    _fill_shared(
        body, cluster, cluster.get("CacheClusterStatus"), cluster.get("CacheClusterCreateTime")
    )
    _fill_members(body, [cluster])
    return Draft(native_id=str(cluster["ARN"]), arn=str(cluster["ARN"]), body=body)


def _fill_shared(body: ElasticacheCache, told: Any, status: Any, made: Any) -> None:
    """Fill what both sorts tell alike."""
    if status:
        body.status = status
    if made:
        body.creation_date.CopyFrom(timestamp(made))
    if node_type := told.get("CacheNodeType"):
        body.node_type = node_type
    body.encrypted_at_rest = bool(told.get("AtRestEncryptionEnabled", False))
    body.encrypted_in_transit = bool(told.get("TransitEncryptionEnabled", False))
    if body.encrypted_in_transit:
        body.transit_mode = told.get("TransitEncryptionMode") or "required"
    body.auth_token = bool(told.get("AuthTokenEnabled", False))
    body.auto_minor_upgrade = bool(told.get("AutoMinorVersionUpgrade", False))
    body.retention_days = told.get("SnapshotRetentionLimit", 0)
    logs = told.get("LogDeliveryConfigurations", ())
    body.log_types.extend(sorted({each["LogType"] for each in logs if _delivers(each)}))


def _delivers(log: Response) -> bool:
    return log.get("Status") in ("active", "modifying")


def _fill_members(body: ElasticacheCache, clusters: Iterable[Response]) -> None:
    groups: set[str] = set()
    for cluster in clusters:
        if version := cluster.get("EngineVersion"):
            body.engine_version = version
        if subnets := cluster.get("CacheSubnetGroupName"):
            body.subnet_group = subnets
        groups.update(str(each["SecurityGroupId"]) for each in cluster.get("SecurityGroups", ()))
    body.security_groups.extend(sorted(groups))


COLLECTOR = Collector(
    "elasticache",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
