"""The least IAM policy: whole, split where AWS limits its length, and by a run's manifest."""

import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.aws.operations import action
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_DENIED, READ_OUTCOME_READ
from secmesh.inventory.v1.sync_pb2 import ManifestEntry
from services.inventory.collect.policy import MAX_CHARACTERS, documents, suggestion
from services.inventory.collect.registry import REGISTRY

COLLECTORS = REGISTRY.collectors
NAMES = st.from_regex(r"[a-z]{2,12}:[A-Z][A-Za-z]{2,60}", fullmatch=True)


def allowed(texts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        for statement in json.loads(text)["Statement"]:
            assert (statement["Effect"], statement["Resource"]) == ("Allow", "*")
            found.update(statement["Action"])
    return found


def test_everything_that_is_declared_is_allowed_and_nothing_else() -> None:
    answer = suggestion(COLLECTORS.values())
    declared = {action(each) for collector in COLLECTORS.values() for each in collector.operations}
    assert allowed(answer.documents) == declared
    # A role takes ten managed policies unless AWS is asked for more.
    assert len(answer.documents) <= 5
    assert all("*" not in each for each in declared)
    # Reading changes nothing.
    reading = ("Get", "GET", "List", "Describe", "BatchGet")
    verbs = {each.partition(":")[2] for each in declared}
    assert {verb for verb in verbs if not verb.startswith(reading)} == {"GenerateCredentialReport"}


def test_each_collection_has_a_policy_of_its_own() -> None:
    answer = suggestion(COLLECTORS.values())
    assert [each.collection for each in answer.collection_policies] == sorted(COLLECTORS)
    for each in answer.collection_policies:
        declared = {action(name) for name in COLLECTORS[each.collection].operations}
        assert allowed([each.document]) == set(each.actions) == declared
        assert not each.denied
        assert not each.untried


@given(actions=st.sets(NAMES, max_size=60), limit=st.integers(200, 1000))
def test_documents_are_split_and_lose_nothing(actions: set[str], limit: int) -> None:
    texts = list(documents(sorted(actions), limit))
    assert all(len(text) <= limit for text in texts)
    assert allowed(texts) == actions
    # No document has room for what begins the next one.
    for text, following in pairwise(texts):
        first = json.loads(following)["Statement"][0]["Action"][0]
        assert len(text) + len(first) + 3 > limit


def test_an_action_that_no_policy_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="no policy of 100 characters"):
        list(documents(["a:" + "B" * 100], 100))
    assert MAX_CHARACTERS == 6144


def entry(collection: str, operation: str, outcome: int) -> ManifestEntry:
    return ManifestEntry(
        collection=collection,
        operation=operation,
        action=action(operation),
        outcome=outcome,  # type: ignore[arg-type]  # an enum value of the contract
    )


def test_a_run_that_was_granted_all_lacks_nothing() -> None:
    collectors = [COLLECTORS["dynamodb_tables"]]
    listed = [entry("dynamodb_tables", "dynamodb:ListTables", READ_OUTCOME_READ)]
    answer = suggestion(collectors, listed)
    assert not answer.documents
    (policy,) = answer.collection_policies
    assert (policy.document, list(policy.denied), list(policy.untried)) == ("", [], [])
    assert "dynamodb:DescribeTable" in policy.actions


def test_what_a_run_lacked_and_what_it_never_came_to_is_suggested() -> None:
    collectors = [COLLECTORS["s3_buckets"], COLLECTORS["s3_account_settings"]]
    run = [
        entry("s3_buckets", "s3:ListBuckets", READ_OUTCOME_READ),
        entry("s3_buckets", "s3:GetBucketEncryption", READ_OUTCOME_DENIED),
        entry("s3_account_settings", "s3control:GetPublicAccessBlock", READ_OUTCOME_READ),
        # What another collection was denied is not these collections' business.
        entry("kms_keys", "kms:ListKeys", READ_OUTCOME_DENIED),
    ]
    answer = suggestion(collectors, run)
    settings, buckets = answer.collection_policies
    assert not settings.document
    assert list(buckets.denied) == ["s3:GetEncryptionConfiguration"]
    assert "s3:GetBucketPolicy" in buckets.untried
    assert "s3:ListAllMyBuckets" not in buckets.untried
    assert allowed(answer.documents) == {*buckets.denied, *buckets.untried}
    assert "kms:ListKeys" not in allowed(answer.documents)
