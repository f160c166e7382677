"""Clusters of ECS: what watches them, and how their shells and storage are encrypted."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.ecs_pb2 import EcsCluster
from services.inventory.collect.batches import batches
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

LIST = "ecs:ListClusters"
DESCRIBE = "ecs:DescribeClusters"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, DESCRIBE))
PAGE = 100
BATCH = 100
FIELDS = frozenset(EcsCluster.DESCRIPTOR.fields_by_name)
DESCRIBED_FIELDS = tuple(sorted(FIELDS - {"cluster_name"}))


def collect(reader: Reader) -> Collected:
    """Read the clusters of one region."""
    arns = cluster_arns(reader)
    if isinstance(arns, Unread):
        return Collected([], arns)
    read = reader.fan_out(partial(_read_clusters, reader), batches(arns, BATCH))
    return Collected([draft for drafts in read for draft in drafts])


def cluster_arns(reader: Reader) -> list[str] | Unread:
    """List the clusters of one region."""
    reader.ledger.is_listing(LIST)
    return reader.picked(LIST, "clusterArns", str, page_size=PAGE)


def ecs_tags(tags: Iterable[Response]) -> dict[str, str]:
    """Give ECS's list of tags as a map."""
    return {str(tag["key"]): str(tag.get("value", "")) for tag in tags}


def _read_clusters(reader: Reader, arns: Sequence[str]) -> list[Draft[EcsCluster]]:
    include = ["CONFIGURATIONS", "SETTINGS", "TAGS"]
    answer = reader.call(DESCRIBE, clusters=list(arns), include=include)
    return cluster_drafts(arns, answer)


def cluster_drafts(arns: Iterable[str], answer: Answer) -> list[Draft[EcsCluster]]:
    """Map clusters by one description of them; one that it lacks is gone."""
    if isinstance(answer, Unread):
        drafts = [_draft(arn) for arn in arns]
        for draft in drafts:
            draft.miss(answer, *DESCRIBED_FIELDS)
        return drafts
    told: Any = answer
    found = [_draft(str(cluster["clusterArn"])) for cluster in told["clusters"]]
    for draft, cluster in zip(found, told["clusters"], strict=True):
        _fill_cluster(draft.body, cluster)
    return found


def _draft(arn: str) -> Draft[EcsCluster]:
    return Draft(native_id=arn, arn=arn, body=EcsCluster(cluster_name=arn.rpartition("/")[2]))


def _fill_cluster(body: EcsCluster, cluster: Any) -> None:
    body.status = cluster.get("status", "")
    settings = {each["name"]: each.get("value", "") for each in cluster.get("settings", ())}
    body.container_insights = settings.get("containerInsights", "disabled")
    configuration = cluster.get("configuration") or {}
    _fill_exec(body, configuration.get("executeCommandConfiguration") or {})
    storage = configuration.get("managedStorageConfiguration") or {}
    if key := storage.get("kmsKeyId"):
        body.storage_kms_key_id = key
    if key := storage.get("fargateEphemeralStorageKmsKeyId"):
        body.fargate_storage_kms_key_id = key
    body.capacity_providers.extend(sorted(cluster.get("capacityProviders") or ()))
    strategy = cluster.get("defaultCapacityProviderStrategy") or ()
    body.default_capacity_providers.extend(sorted(each["capacityProvider"] for each in strategy))
    if space := (cluster.get("serviceConnectDefaults") or {}).get("namespace"):
        body.service_connect_namespace = space
    body.tags.update(ecs_tags(cluster.get("tags") or ()))


def _fill_exec(body: EcsCluster, told: Any) -> None:
    if logging := told.get("logging"):
        body.exec_logging = logging
    if key := told.get("kmsKeyId"):
        body.exec_kms_key_id = key
    log = told.get("logConfiguration") or {}
    named = {
        "cloudWatchLogGroupName": "cloudWatchEncryptionEnabled",
        "s3BucketName": "s3EncryptionEnabled",
    }
    flags = [bool(log.get(flag)) for place, flag in named.items() if log.get(place)]
    if flags:
        body.exec_log_encrypted = all(flags)


COLLECTOR = Collector(
    "ecs_clusters",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
