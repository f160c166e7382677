"""The least IAM policy that collecting needs, made of what the collectors declare."""

import json
from collections.abc import Iterable, Iterator, Sequence

from mesh.aws.operations import action
from secmesh.inventory.v1.policy_pb2 import CollectionPolicy, SuggestPolicyResponse
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_DENIED
from secmesh.inventory.v1.sync_pb2 import ManifestEntry
from services.inventory.collect.collector import Collector
from services.inventory.discovery.listing import OPERATIONS as DISCOVERY

MAX_CHARACTERS = 6144
"""Characters of a managed policy. Source: AWS IAM User Guide, "IAM and AWS STS quotas"."""
_VERSION = "2012-10-17"


def suggestion(
    collectors: Iterable[Collector], manifest: Iterable[ManifestEntry] | None = None
) -> SuggestPolicyResponse:
    """Give what collections need; with a run's manifest, only what the run lacked."""
    entries = None if manifest is None else list(manifest)
    answer = SuggestPolicyResponse()
    for collector in sorted(collectors, key=lambda each: each.collection):
        answer.collection_policies.append(_collection(collector, entries))
    wanted = {each for policy in answer.collection_policies for each in _suggested(policy, entries)}
    answer.documents.extend(documents(sorted(wanted)))
    if manifest is None:
        answer.discovery_document = "".join(documents(sorted(map(action, DISCOVERY))))
    return answer


def _collection(collector: Collector, entries: list[ManifestEntry] | None) -> CollectionPolicy:
    policy = CollectionPolicy(
        collection=collector.collection, actions=sorted(map(action, collector.operations))
    )
    if entries is not None:
        own = [entry for entry in entries if entry.collection == collector.collection]
        denied = {entry.action for entry in own if entry.outcome == READ_OUTCOME_DENIED}
        policy.denied.extend(sorted(denied))
        if denied:
            # What comes after a denied read was not asked, so nobody knows if it is granted.
            used = {entry.action for entry in own}
            policy.untried.extend(each for each in policy.actions if each not in used)
    policy.document = "".join(documents(_suggested(policy, entries)))
    return policy


def _suggested(policy: CollectionPolicy, entries: object) -> list[str]:
    if entries is None:
        return list(policy.actions)
    return sorted({*policy.denied, *policy.untried})


def documents(actions: Sequence[str], limit: int = MAX_CHARACTERS) -> Iterator[str]:
    """Give policies that allow the actions on every resource, each within a number of characters.

    AWS does not count white space; there is none. Raises ValueError if one action is too long.
    """
    # Every character of an action is ASCII, so its length is what it adds beside quotes and comma.
    room = limit - len(_document([]))
    chosen: list[str] = []
    used = 0
    for each in actions:
        needed = len(each) + 3
        if needed - 1 > room:
            raise ValueError(f"no policy of {limit} characters holds {each}")
        if used + needed - 1 > room:
            yield _document(chosen)
            chosen, used = [], 0
        chosen.append(each)
        used += needed
    if chosen:
        yield _document(chosen)


def _document(actions: Sequence[str]) -> str:
    statement = {"Sid": "Read", "Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = {"Version": _VERSION, "Statement": [statement]}
    return json.dumps(policy, separators=(",", ":"))
