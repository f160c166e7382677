"""Domains of OpenSearch: who reaches them, and what of them is encrypted and logged."""

from collections.abc import Mapping
from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.opensearch_pb2 import OpensearchDomain
from services.inventory.collect.access_policy import admits_everyone
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map

LIST = "opensearch:ListDomainNames"
DESCRIBE = "opensearch:DescribeDomains"
TAGS = "opensearch:ListTags"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, DESCRIBE, TAGS))
BATCH = 5
"""Domains that one DescribeDomains call takes."""
AUDIT = "AUDIT_LOGS"
FIELDS = frozenset(OpensearchDomain.DESCRIPTOR.fields_by_name)
DESCRIBED_FIELDS = tuple(sorted(FIELDS - {"domain_name", "tags"}))

Described = Mapping[str, Response] | Unread
"""By name."""


def collect(reader: Reader) -> Collected:
    """Read the domains of one region."""
    names = reader.picked(LIST, "DomainNames", lambda each: str(each["DomainName"]))
    reader.ledger.is_listing(LIST)
    if isinstance(names, Unread):
        return Collected([], names)
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    answers = reader.fan_out(lambda batch: _describe(reader, batch), batches)
    drafts = [
        domain_draft(name, _arn(reader, name), described)
        for batch, described in zip(batches, answers, strict=True)
        for name in batch
        # Deleted since it was listed, if others of the batch are told and it is not.
        if isinstance(described, Unread) or name in described
    ]
    reader.fan_out(lambda draft: _read_tags(reader, draft), drafts)
    return Collected(drafts)


def _describe(reader: Reader, names: list[str]) -> Described:
    answer: Answer = reader.call(DESCRIBE, resource=names[0], DomainNames=names)
    if isinstance(answer, Absent):
        return Unread.of(DESCRIBE, Outcome.FAILED, answer.code)
    if isinstance(answer, Unread):
        return answer
    return {str(each["DomainName"]): each for each in answer.get("DomainStatusList", ())}


def _arn(reader: Reader, name: str) -> str:
    account = reader.account
    owner = f"{reader.region}:{account.cloud_account_id}"
    return f"arn:{account.partition}:es:{owner}:domain/{name}"


def _read_tags(reader: Reader, draft: Draft[OpensearchDomain]) -> None:
    draft.take(reader.call(TAGS, resource=draft.arn, ARN=draft.arn), ("tags",), _fill_tags)


def _fill_tags(body: OpensearchDomain, response: Response | None) -> None:
    body.tags.update(tag_map((response or {}).get("TagList", ())))


def domain_draft(name: str, arn: str, described: Described) -> Draft[OpensearchDomain]:
    """Map one domain by its description."""
    draft = Draft(native_id=name, arn=arn, body=OpensearchDomain(domain_name=name))
    if isinstance(described, Unread):
        draft.miss(described, *DESCRIBED_FIELDS)
    else:
        _fill(draft.body, described[name])
        _fill_access(draft.body, described[name])
    return draft


def _fill(body: OpensearchDomain, told: Any) -> None:
    cluster, storage = told.get("ClusterConfig", {}), told.get("EncryptionAtRestOptions", {})
    endpoint, software = (
        told.get("DomainEndpointOptions", {}),
        told.get("SoftwareUpdateOptions", {}),
    )
    texts = {
        "engine_version": told.get("EngineVersion"),
        "status": told.get("DomainProcessingStatus"),
        "kms_key_id": storage.get("KmsKeyId"),
        "tls_policy": endpoint.get("TLSSecurityPolicy"),
    }
    for name, text in texts.items():
        if text:
            setattr(body, name, text)
    body.encrypted_at_rest = bool(storage.get("Enabled", False))
    between = told.get("NodeToNodeEncryptionOptions", {})
    body.node_to_node_encryption = bool(between.get("Enabled", False))
    body.enforce_https = bool(endpoint.get("EnforceHTTPS", False))
    logs = told.get("LogPublishingOptions", {})
    body.log_types.extend(sorted(kind for kind, log in logs.items() if log.get("Enabled", False)))
    body.audit_logs = AUDIT in body.log_types
    body.auto_software_update = bool(software.get("AutoSoftwareUpdateEnabled", False))
    update = told.get("ServiceSoftwareOptions", {})
    body.update_available = bool(update.get("UpdateAvailable", False))
    body.instance_count = cluster.get("InstanceCount", 0)
    body.zone_awareness = bool(cluster.get("ZoneAwarenessEnabled", False))


def _fill_access(body: OpensearchDomain, told: Any) -> None:
    network = told.get("VPCOptions", {})
    if vpc := network.get("VPCId"):
        body.vpc_id = vpc
    body.security_groups.extend(sorted(network.get("SecurityGroupIds", ())))
    if policy := told.get("AccessPolicies"):
        body.policy = policy
    body.policy_public = admits_everyone(body.policy)
    own: Any = told.get("AdvancedSecurityOptions", {})
    body.fine_grained_access = bool(own.get("Enabled", False))
    anonymous = not body.fine_grained_access or bool(own.get("AnonymousAuthEnabled", False))
    body.public = not body.HasField("vpc_id") and body.policy_public and anonymous


COLLECTOR = Collector(
    "opensearch",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
