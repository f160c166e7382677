"""Database instances of RDS: who reaches them, and what of them is encrypted and kept."""

from collections.abc import Iterable, Mapping
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.rds_pb2 import RdsInstance
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp
from services.inventory.collect.rds_maintenance import (
    MAINTENANCE,
    fill_maintenance,
    read_maintenance,
)
from services.inventory.collect.rds_parameters import (
    CLUSTER_PARAMETERS,
    INSTANCE_PARAMETERS,
    Group,
    TlsRule,
    group_of,
    required,
    rule_of,
)

LIST = "rds:DescribeDBInstances"
CLUSTERS = "rds:DescribeDBClusters"
ROUTES = "ec2:DescribeRouteTables"
LISTINGS = (LIST,)
OPERATIONS = frozenset(
    (LIST, CLUSTERS, ROUTES, INSTANCE_PARAMETERS, CLUSTER_PARAMETERS, MAINTENANCE)
)
PAGE = 100
ROUTE_PAGE = 100
FIELDS = frozenset(RdsInstance.DESCRIPTOR.fields_by_name)
CLUSTER_FIELDS = ("deletion_protection", "log_exports", "iam_authentication")
"""Fields that a cluster may decide for its members."""

Clusters = Mapping[str, Response] | Unread
"""By name."""
Items = list[Response] | Unread


def collect(reader: Reader) -> Collected:
    """Read the instances of one region."""
    instances = reader.items(LIST, "DBInstances", page_size=PAGE, listing=True)
    if isinstance(instances, Unread):
        return Collected([], instances)
    clusters = _clusters(reader, instances)
    routes = _routes(reader, instances)
    tls = _tls(reader, instances, clusters)
    zones = _zones(instances)
    pending = read_maintenance(reader) if instances else {}
    drafts = []
    for instance in instances:
        draft = instance_draft(instance, zones)
        fill_cluster(draft, clusters)
        fill_route(draft, instance, routes)
        fill_maintenance(draft, _cluster_arn(draft, clusters), pending)
        rule = rule_of(draft.body.engine)
        if rule is not None:
            fill_tls(draft, rule, tls[rule, group_of(instance, rule, clusters)])
        drafts.append(draft)
    return Collected(drafts)


def _clusters(reader: Reader, instances: Iterable[Response]) -> Clusters:
    if not any(instance.get("DBClusterIdentifier") for instance in instances):
        return {}
    found = reader.items(CLUSTERS, "DBClusters", page_size=PAGE)
    if isinstance(found, Unread):
        return found
    return {str(cluster["DBClusterIdentifier"]): cluster for cluster in found}


def _routes(reader: Reader, instances: Iterable[Response]) -> Items:
    if not any(instance.get("PubliclyAccessible") for instance in instances):
        return []
    return reader.items(ROUTES, "RouteTables", page_size=ROUTE_PAGE)


def _tls(
    reader: Reader, instances: Iterable[Response], clusters: Clusters
) -> dict[tuple[TlsRule, Group], bool | Unread | None]:
    """Read the parameter of each group once, however many instances use it."""
    rules = ((instance, rule_of(str(instance["Engine"]))) for instance in instances)
    asked = dict.fromkeys(
        (rule, group_of(instance, rule, clusters)) for instance, rule in rules if rule
    )
    answers = reader.fan_out(lambda each: required(reader, *each), list(asked))
    return dict(zip(asked, answers, strict=True))


def _zones(instances: Iterable[Response]) -> dict[str, set[str]]:
    """Give the availability zones of each cluster's members."""
    zones: dict[str, set[str]] = {}
    for instance in instances:
        if cluster := instance.get("DBClusterIdentifier"):
            zones.setdefault(str(cluster), set()).add(str(instance.get("AvailabilityZone", "")))
    return zones


def instance_draft(instance: Response, zones: Mapping[str, set[str]]) -> Draft[RdsInstance]:
    """Map what DescribeDBInstances tells of one instance."""
    cluster = instance.get("DBClusterIdentifier")
    subnets: Any = instance.get("DBSubnetGroup", {})
    body = RdsInstance(
        instance_id=instance["DBInstanceIdentifier"],
        engine=instance["Engine"],
        engine_version=instance.get("EngineVersion", ""),
        status=instance.get("DBInstanceStatus", ""),
        instance_class=instance.get("DBInstanceClass", ""),
        cluster_id=cluster,
        multi_az=instance.get("MultiAZ", False) or len(zones.get(cluster or "", ())) > 1,
        publicly_accessible=instance.get("PubliclyAccessible", False),
        storage_encrypted=instance.get("StorageEncrypted", False),
        kms_key_id=instance.get("KmsKeyId") or None,
        retention_days=instance.get("BackupRetentionPeriod", 0),
        deletion_protection=instance.get("DeletionProtection", False),
        auto_minor_upgrade=instance.get("AutoMinorVersionUpgrade", False),
        iam_authentication=instance.get("IAMDatabaseAuthenticationEnabled", False),
        ca_certificate=instance.get("CACertificateIdentifier") or None,
        log_exports=sorted(instance.get("EnabledCloudwatchLogsExports", ())),
        performance_insights=instance.get("PerformanceInsightsEnabled", False),
        monitoring_seconds=instance.get("MonitoringInterval", 0),
        vpc_id=subnets.get("VpcId") or None,
        subnet_group=subnets.get("DBSubnetGroupName") or None,
        security_groups=sorted(_active_groups(instance)),
        copy_tags_to_snapshot=instance.get("CopyTagsToSnapshot", False),
        master_username=instance.get("MasterUsername") or None,
        tags=tag_map(instance.get("TagList", ())),
    )
    endpoint: Any = instance.get("Endpoint") or {}
    if port := endpoint.get("Port") or instance.get("DbInstancePort"):
        body.port = port
    if created := instance.get("InstanceCreateTime"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=body.instance_id, arn=str(instance["DBInstanceArn"]), body=body)


def _cluster_arn(draft: Draft[RdsInstance], clusters: Clusters) -> str | Unread:
    if not draft.body.HasField("cluster_id"):
        return ""
    if isinstance(clusters, Unread):
        return clusters
    return str(clusters.get(draft.body.cluster_id, {}).get("DBClusterArn", ""))


def _active_groups(instance: Response) -> Iterable[str]:
    for group in instance.get("VpcSecurityGroups", ()):
        if group.get("Status") != "removing":
            yield str(group["VpcSecurityGroupId"])


def fill_cluster(draft: Draft[RdsInstance], clusters: Clusters) -> None:
    """Fill what a member has from its cluster: a cluster guards and logs for all of them."""
    if not draft.body.HasField("cluster_id"):
        return
    if isinstance(clusters, Unread):
        draft.miss(clusters, *CLUSTER_FIELDS)
        return
    cluster = clusters.get(draft.body.cluster_id, {})
    body = draft.body
    body.deletion_protection |= cluster.get("DeletionProtection", False)
    body.iam_authentication |= cluster.get("IAMDatabaseAuthenticationEnabled", False)
    logs = {*body.log_exports, *cluster.get("EnabledCloudwatchLogsExports", ())}
    body.ClearField("log_exports")
    body.log_exports.extend(sorted(logs))


def fill_route(draft: Draft[RdsInstance], instance: Response, tables: Items) -> None:
    """Tell of a publicly accessible instance whether one of its subnets leads out."""
    if not draft.body.publicly_accessible:
        return
    if isinstance(tables, Unread):
        draft.miss(tables, "routed_to_internet")
        return
    group: Any = instance.get("DBSubnetGroup", {})
    subnets = {str(subnet["SubnetIdentifier"]) for subnet in group.get("Subnets", ())}
    draft.body.routed_to_internet = any(
        _leads_out(table_of(subnet, draft.body.vpc_id, tables)) for subnet in subnets
    )


def table_of(subnet: str, vpc: str, tables: Iterable[Response]) -> Response:
    """Give a subnet's route table: its own, else the main one of its VPC."""
    main: Response = {}
    for table in tables:
        for association in table.get("Associations", ()):
            if association.get("SubnetId") == subnet:
                return table
            if association.get("Main") and table.get("VpcId") == vpc:
                main = table
    return main


def _leads_out(table: Response) -> bool:
    return any(
        str(route.get("GatewayId", "")).startswith("igw-") for route in table.get("Routes", ())
    )


def fill_tls(draft: Draft[RdsInstance], rule: TlsRule, answer: bool | Unread | None) -> None:
    """Fill the parameter that demands TLS, and whether it does."""
    if isinstance(answer, Unread):
        draft.miss(answer, "tls_parameter", "tls_required")
    elif answer is not None:
        draft.body.tls_parameter = rule.parameter
        draft.body.tls_required = answer


COLLECTOR = Collector(
    "rds_instances",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
