"""Task definitions of ECS, each family by its latest active revision.

Values of environment variables are dropped as soon as they are read: names are kept, and of what
looks like a credential also what it looks like and a keyed hash.
"""

from functools import partial
from typing import Any

from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.ecs_pb2 import EcsTaskDefinition
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.credential_shapes import Fingerprint, looks_like
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.ecs_clusters import ecs_tags
from services.inventory.collect.fingerprints import no_fingerprint

LIST = "ecs:ListTaskDefinitionFamilies"
DESCRIBE = "ecs:DescribeTaskDefinition"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, DESCRIBE))
PAGE = 100
HOST = "host"
ROOT = frozenset({"", "root", "0"})
FIELDS = frozenset(EcsTaskDefinition.DESCRIPTOR.fields_by_name)
DESCRIBED_FIELDS = tuple(sorted(FIELDS - {"family"}))


def collect(reader: Reader) -> Collected:
    """Read the families of one region."""
    families = reader.picked(LIST, "families", str, page_size=PAGE, status="ACTIVE")
    reader.ledger.is_listing(LIST)
    if isinstance(families, Unread):
        return Collected([], families)
    return Collected(reader.fan_out(lambda family: _read(reader, family), families))


def _read(reader: Reader, family: str) -> Draft[EcsTaskDefinition]:
    # A family without a revision stands for its latest active one.
    answer = reader.call(DESCRIBE, resource=family, taskDefinition=family, include=["TAGS"])
    return definition_draft(family, answer, reader.fingerprint)


def definition_draft(
    family: str, answer: Answer, fingerprint: Fingerprint = no_fingerprint
) -> Draft[EcsTaskDefinition]:
    """Map a family by the description of its latest active revision."""
    draft = Draft(native_id=family, body=EcsTaskDefinition(family=family))
    if not isinstance(answer, Unread):
        draft.arn = _arn(answer)
    draft.take(answer, DESCRIBED_FIELDS, partial(_fill, fingerprint))
    return draft


def _arn(answer: Any) -> str:
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def _fill(fingerprint: Fingerprint, body: EcsTaskDefinition, response: Response | None) -> None:
    told: Any = response or {}
    task = told["taskDefinition"]
    body.revision = task["revision"]
    if registered := task.get("registeredAt"):
        body.registered_date.CopyFrom(timestamp(registered))
    body.compatibilities.extend(sorted(task.get("compatibilities") or ()))
    if system := (task.get("runtimePlatform") or {}).get("operatingSystemFamily"):
        body.operating_system = system
    if mode := task.get("networkMode"):
        body.network_mode = mode
    body.host_pid = task.get("pidMode") == HOST
    body.host_ipc = task.get("ipcMode") == HOST
    if role := task.get("taskRoleArn"):
        body.task_role = role
    if role := task.get("executionRoleArn"):
        body.execution_role = role
    paths = {(each.get("host") or {}).get("sourcePath", "") for each in task.get("volumes") or ()}
    body.host_paths.extend(sorted(paths - {""}))
    for container in task.get("containerDefinitions") or ():
        _add_container(body, container, fingerprint)
    body.tags.update(ecs_tags(told.get("tags") or ()))


def _add_container(body: EcsTaskDefinition, container: Any, fingerprint: Fingerprint) -> None:
    user = container.get("user") or ""
    windows = body.operating_system.startswith("WINDOWS")
    capabilities = (container.get("linuxParameters") or {}).get("capabilities") or {}
    variables = sorted(
        (str(each["name"]), str(each.get("value", "")))
        for each in container.get("environment") or ()
    )
    body.containers.add(
        container_name=container["name"],
        image=container.get("image", ""),
        essential=container.get("essential", True),
        privileged=bool(container.get("privileged")),
        user=user,
        root_user=not windows and is_root(user),
        readonly_root=bool(container.get("readonlyRootFilesystem")),
        added_capabilities=sorted(capabilities.get("add") or ()),
        log_driver=(container.get("logConfiguration") or {}).get("logDriver", ""),
        environment_names=[name for name, _ in variables],
        secret_names=sorted(each["name"] for each in container.get("secrets") or ()),
    )
    for name, value in variables:
        if form := looks_like(name, value):
            body.credential_variables.add(
                container_name=container["name"],
                variable_name=name,
                looks_like=form,
                value_hash=fingerprint(value),
            )


def is_root(user: str) -> bool:
    """Tell whether a user, ``name``, ``id`` or either with ``:group``, is root or left open."""
    name = user.partition(":")[0]
    return name in ROOT or (name.isdecimal() and int(name) == 0)


COLLECTOR = Collector(
    "ecs_task_definitions",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
