"""Services of ECS: what runs all the time, on which network and with which addresses."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.ecs_pb2 import EcsService
from services.inventory.collect import ecs_clusters
from services.inventory.collect.batches import batches
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.ecs_clusters import cluster_arns, ecs_tags

LIST = "ecs:ListServices"
DESCRIBE = "ecs:DescribeServices"
LISTINGS = (ecs_clusters.LIST, LIST)
OPERATIONS = frozenset((*LISTINGS, DESCRIBE))
PAGE = 100
BATCH = 10
ENABLED = "ENABLED"
FIELDS = frozenset(EcsService.DESCRIPTOR.fields_by_name)
DESCRIBED_FIELDS = tuple(sorted(FIELDS - {"service_name", "cluster_arn"}))

Batch = tuple[str, Sequence[str]]
"""A cluster and some of its services, as ARNs."""


def collect(reader: Reader) -> Collected:
    """Read the services of one region."""
    clusters = cluster_arns(reader)
    if isinstance(clusters, Unread):
        return Collected([], clusters)
    reader.ledger.is_listing(LIST)
    listed = reader.fan_out(lambda cluster: _service_arns(reader, cluster), clusters)
    wanted: list[Batch] = []
    gap: Unread | None = None
    for cluster, arns in zip(clusters, listed, strict=True):
        if isinstance(arns, Unread):
            gap = gap or arns
        else:
            wanted += [(cluster, batch) for batch in batches(arns, BATCH)]
    read = reader.fan_out(lambda batch: _read_services(reader, batch), wanted)
    return Collected([draft for drafts in read for draft in drafts], gap)


def _service_arns(reader: Reader, cluster: str) -> list[str] | Unread:
    return reader.picked(
        LIST, "serviceArns", str, page_size=PAGE, resource=cluster, cluster=cluster
    )


def _read_services(reader: Reader, batch: Batch) -> list[Draft[EcsService]]:
    cluster, arns = batch
    answer = reader.call(
        DESCRIBE, resource=cluster, cluster=cluster, services=list(arns), include=["TAGS"]
    )
    return service_drafts(cluster, arns, answer)


def service_drafts(cluster: str, arns: Iterable[str], answer: Answer) -> list[Draft[EcsService]]:
    """Map services of a cluster by one description of them; one that it lacks is gone."""
    if isinstance(answer, Absent):
        return []
    if isinstance(answer, Unread):
        drafts = [_draft(cluster, arn) for arn in arns]
        for draft in drafts:
            draft.miss(answer, *DESCRIBED_FIELDS)
        return drafts
    services: Any = answer["services"]
    found = [_draft(cluster, str(service["serviceArn"])) for service in services]
    for draft, service in zip(found, services, strict=True):
        _fill_service(draft.body, service)
        _fill_network(draft.body, list(_networks(service)))
    return found


def _draft(cluster: str, arn: str) -> Draft[EcsService]:
    body = EcsService(service_name=arn.rpartition("/")[2], cluster_arn=cluster)
    # ARNs of the short form do not name the cluster.
    return Draft(native_id=f"{cluster}/{body.service_name}", arn=arn, body=body)


def _fill_service(body: EcsService, service: Any) -> None:
    body.status = service.get("status", "")
    if launch := service.get("launchType"):
        body.launch_type = launch
    strategy = service.get("capacityProviderStrategy") or ()
    body.capacity_providers.extend(sorted(each["capacityProvider"] for each in strategy))
    if version := service.get("platformVersion"):
        body.platform_version = version
    body.scheduling_strategy = service.get("schedulingStrategy", "REPLICA")
    body.deployment_controller = (service.get("deploymentController") or {}).get("type", "ECS")
    breaker = (service.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}
    body.rolls_back = bool(breaker.get("enable") and breaker.get("rollback"))
    if definition := service.get("taskDefinition"):
        body.task_definition = definition
    if created := service.get("createdAt"):
        body.creation_date.CopyFrom(timestamp(created))
    body.exec_enabled = bool(service.get("enableExecuteCommand"))
    groups = {each.get("targetGroupArn", "") for each in service.get("loadBalancers") or ()}
    body.target_groups.extend(sorted(groups - {""}))
    body.tags.update(ecs_tags(service.get("tags") or ()))


def _networks(service: Any) -> Iterator[Response]:
    """Give the networks of a service: its own, or those of task sets that others deploy."""
    for part in (service, *(service.get("taskSets") or ())):
        network = (part.get("networkConfiguration") or {}).get("awsvpcConfiguration")
        if network:
            yield network


def _fill_network(body: EcsService, networks: list[Response]) -> None:
    if not networks:
        return
    body.assign_public_ip = any(each.get("assignPublicIp") == ENABLED for each in networks)
    body.subnets.extend(sorted({name for each in networks for name in each.get("subnets", ())}))
    groups = {name for each in networks for name in each.get("securityGroups", ())}
    body.security_groups.extend(sorted(groups))


COLLECTOR = Collector(
    "ecs_services",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
