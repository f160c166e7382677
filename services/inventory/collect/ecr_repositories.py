"""Repositories of ECR: who may pull, when images are scanned, and how long they are kept."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.ecr_pb2 import EcrRepository
from services.inventory.collect.access_policy import admits_everyone, foreign_accounts
from services.inventory.collect.batches import batches
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

LIST = "ecr:DescribeRepositories"
REGISTRY = "ecr:GetRegistryScanningConfiguration"
SCANNING = "ecr:BatchGetRepositoryScanningConfiguration"
POLICY = "ecr:GetRepositoryPolicy"
LIFECYCLE = "ecr:GetLifecyclePolicy"
TAGS = "ecr:ListTagsForResource"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, REGISTRY, SCANNING, POLICY, LIFECYCLE, TAGS))
PAGE = 1000
BATCH = 25
ON_PUSH = frozenset({"SCAN_ON_PUSH", "CONTINUOUS_SCAN"})
SCAN_FIELDS = ("scan_frequency", "scan_on_push")
POLICY_FIELDS = ("policy", "policy_public", "shared_with")
FIELDS = frozenset(EcrRepository.DESCRIPTOR.fields_by_name)

Scanning = Mapping[str, Answer]
"""By repository: its own part of a batch's answer."""


def collect(reader: Reader) -> Collected:
    """Read the repositories of one region."""
    repositories = reader.items(LIST, "repositories", page_size=PAGE, listing=True)
    if isinstance(repositories, Unread):
        return Collected([], repositories)
    registry = reader.call(REGISTRY) if repositories else {}
    names = [str(repository["repositoryName"]) for repository in repositories]
    read = reader.fan_out(partial(_read_scanning, reader), batches(names, BATCH))
    scanning = {name: answer for batch in read for name, answer in batch.items()}
    return Collected(
        reader.fan_out(lambda each: _read(reader, each, registry, scanning), repositories)
    )


def _read_scanning(reader: Reader, names: Sequence[str]) -> Scanning:
    answer = reader.call(SCANNING, resource=names[0], repositoryNames=list(names))
    if isinstance(answer, Unread):
        return dict.fromkeys(names, answer)
    told: Any = answer
    return {str(each["repositoryName"]): each for each in told["scanningConfigurations"]}


def _read(
    reader: Reader, repository: Response, registry: Answer, scanning: Scanning
) -> Draft[EcrRepository]:
    draft = repository_draft(repository, registry, scanning)
    named = {"resource": draft.arn, "repositoryName": draft.body.repository_name}
    own = reader.account.cloud_account_id
    draft.take(reader.call(POLICY, **named), POLICY_FIELDS, partial(_fill_policy, own))
    draft.take(reader.call(LIFECYCLE, **named), ("lifecycle_policy",), _fill_lifecycle)
    tags = reader.call(TAGS, resource=draft.arn, resourceArn=draft.arn)
    draft.take(tags, ("tags",), _fill_tags)
    return draft


def repository_draft(
    repository: Response, registry: Answer, scanning: Scanning
) -> Draft[EcrRepository]:
    """Map one repository by its place in the list and by how its images are scanned."""
    encryption: Any = repository.get("encryptionConfiguration") or {}
    body = EcrRepository(
        repository_name=repository["repositoryName"],
        tag_mutability=repository.get("imageTagMutability", "MUTABLE"),
        encryption=encryption.get("encryptionType", "AES256"),
        kms_key_id=encryption.get("kmsKey") or None,
    )
    if created := repository.get("createdAt"):
        body.creation_date.CopyFrom(timestamp(created))
    arn = str(repository["repositoryArn"])
    draft = Draft(native_id=body.repository_name, arn=arn, body=body)
    draft.take(registry, ("scan_type",), _fill_registry)
    # One that went away since it was listed is in no answer.
    draft.take(scanning.get(body.repository_name, {}), SCAN_FIELDS, _fill_scanning)
    return draft


def _fill_registry(body: EcrRepository, response: Response | None) -> None:
    configuration: Any = (response or {}).get("scanningConfiguration", {})
    body.scan_type = configuration.get("scanType", "BASIC")


def _fill_scanning(body: EcrRepository, response: Response | None) -> None:
    told: Any = response or {}
    body.scan_frequency = told.get("scanFrequency", "MANUAL")
    body.scan_on_push = bool(told.get("scanOnPush")) or body.scan_frequency in ON_PUSH


def _fill_policy(own: str, body: EcrRepository, response: Response | None) -> None:
    if response is not None:
        body.policy = response["policyText"]
    body.policy_public = admits_everyone(body.policy)
    body.shared_with.extend(sorted(foreign_accounts(body.policy, own)))


def _fill_lifecycle(body: EcrRepository, response: Response | None) -> None:
    if response is not None:
        body.lifecycle_policy = response["lifecyclePolicyText"]


def _fill_tags(body: EcrRepository, response: Response | None) -> None:
    body.tags.update(tag_map((response or {}).get("tags") or ()))


COLLECTOR = Collector(
    "ecr_repositories",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
