"""Clusters of Redshift: who reaches them, and what of them is encrypted, logged and kept."""

from collections.abc import Mapping
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.redshift_pb2 import RedshiftCluster
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import (
    Collected,
    Draft,
    Truth,
    all_of,
    tag_map,
    timestamp,
)

LIST = "redshift:DescribeClusters"
LOGGING = "redshift:DescribeLoggingStatus"
PARAMETERS = "redshift:DescribeClusterParameters"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, LOGGING, PARAMETERS))
PAGE = 100
TLS = "require_ssl"
LOG_FIELDS = ("audit_logs", "log_destination")
FIELDS = frozenset(RedshiftCluster.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the clusters of one region."""
    clusters = reader.items(LIST, "Clusters", page_size=PAGE, listing=True)
    if isinstance(clusters, Unread):
        return Collected([], clusters)
    account = reader.account
    owner = f"{reader.region}:{account.cloud_account_id}"
    prefix = f"arn:{account.partition}:redshift:{owner}:cluster:"
    drafts = [cluster_draft(cluster, prefix) for cluster in clusters]
    groups = sorted({group for draft in drafts for group in draft.body.parameter_groups})
    read = reader.fan_out(lambda group: _demands_tls(reader, group), groups)
    demands = dict(zip(groups, read, strict=True))
    reader.fan_out(lambda draft: _read_logging(reader, draft), drafts)
    for draft in drafts:
        fill_tls(draft, demands)
    return Collected(drafts)


def _demands_tls(reader: Reader, group: str) -> Truth:
    found = reader.items(
        PARAMETERS, "Parameters", page_size=PAGE, resource=group, ParameterGroupName=group
    )
    return found if isinstance(found, Unread) else any(map(_is_tls, found))


def _is_tls(parameter: Response) -> bool:
    value = str(parameter.get("ParameterValue", ""))
    return parameter.get("ParameterName") == TLS and value.lower() in ("true", "1")


def _read_logging(reader: Reader, draft: Draft[RedshiftCluster]) -> None:
    answer = reader.call(LOGGING, resource=draft.arn, ClusterIdentifier=draft.body.cluster_id)
    draft.take(answer, LOG_FIELDS, fill_logging)


def cluster_draft(cluster: Response, prefix: str) -> Draft[RedshiftCluster]:
    """Map one cluster by its place in the list."""
    groups = cluster.get("VpcSecurityGroups", ())
    body = RedshiftCluster(
        cluster_id=cluster["ClusterIdentifier"],
        status=cluster.get("ClusterStatus"),
        node_type=cluster.get("NodeType"),
        node_count=cluster.get("NumberOfNodes"),
        master_username=cluster.get("MasterUsername") or None,
        master_secret=cluster.get("MasterPasswordSecretArn") or None,
        vpc_id=cluster.get("VpcId") or None,
        security_groups=sorted(
            each["VpcSecurityGroupId"] for each in groups if each.get("Status") != "removing"
        ),
        port=(cluster.get("Endpoint") or {}).get("Port"),
        publicly_accessible=cluster.get("PubliclyAccessible", False),
        enhanced_vpc_routing=cluster.get("EnhancedVpcRouting", False),
        encrypted_at_rest=cluster.get("Encrypted", False),
        kms_key_id=cluster.get("KmsKeyId") or None,
        parameter_groups=sorted(
            each["ParameterGroupName"] for each in cluster.get("ClusterParameterGroups", ())
        ),
        auto_upgrade=cluster.get("AllowVersionUpgrade", False),
        retention_days=cluster.get("AutomatedSnapshotRetentionPeriod", 0),
        snapshot_copy_region=_copied_to(cluster),
        multi_az=str(cluster.get("MultiAZ", "")).lower() in ("enabled", "true"),
        tags=tag_map(cluster.get("Tags", ())),
    )
    if made := cluster.get("ClusterCreateTime"):
        body.creation_date.CopyFrom(timestamp(made))
    return Draft(native_id=body.cluster_id, arn=f"{prefix}{body.cluster_id}", body=body)


def _copied_to(cluster: Any) -> str | None:
    region = (cluster.get("ClusterSnapshotCopyStatus") or {}).get("DestinationRegion")
    return str(region) if region else None


def fill_logging(body: RedshiftCluster, response: Response | None) -> None:
    """Fill whether a cluster's audit log is written, and where to."""
    told = response or {}
    body.audit_logs = bool(told.get("LoggingEnabled", False))
    if body.audit_logs and (to := told.get("BucketName") or told.get("LogDestinationType")):
        body.log_destination = to


def fill_tls(draft: Draft[RedshiftCluster], demands: Mapping[str, Truth]) -> None:
    """Fill whether all parameter groups of a cluster demand TLS."""
    groups = draft.body.parameter_groups
    draft.decide("tls_required", bool(groups) and all_of(demands[group] for group in groups))


COLLECTOR = Collector(
    "redshift",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
