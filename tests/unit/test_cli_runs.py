"""Commands about runs and the permissions that they need."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from typer.testing import Result

from secmesh.inventory.v1 import (
    policy_pb2,
    sync_pb2,
    sync_service_pb2,
)
from secmesh.inventory.v1.contradiction_service_pb2 import WatchContradictionsResponse
from secmesh.inventory.v1.organization_service_pb2 import ListOrganizationsResponse
from secmesh.records.v1.watch_pb2 import WatchBookmark
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.account_service_pb2 import ListAccountsResponse
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS
from tests.unit.cli_operator import (
    ENDED,
    SECONDS,
    SERVICES,
    TENANCY,
    Operator,
    operator,
    sync_event,
)

__all__ = ["operator"]


def run_sync(operator: Operator, *events: Message) -> tuple[Result, Any]:
    arguments = ["--account", "123456789012", "--region", "us-east-1", "--region", "eu-west-1"]
    done = operator.run("-o", "json", "inventory", "sync", *arguments)
    request = operator.answer(
        "SyncService", "StartSync", sync_pb2.Sync(name="tenants/acme/syncs/s1")
    )
    operator.stream("SyncService", "WatchSync", *events)
    return done.result(SECONDS), request


def test_sync_follows_the_run_to_its_end(operator: Operator) -> None:
    result, request = run_sync(
        operator,
        sync_event(1, sync_pb2.Sync.STATE_RUNNING),
        sync_event(2, sync_pb2.Sync.STATE_SUCCEEDED),
        ENDED,
    )
    assert result.exit_code == 0, result.output
    assert request.sync.cloud_account_id == "123456789012"
    assert list(request.sync.regions) == ["us-east-1", "eu-west-1"]
    assert json.loads(result.stdout)["state"] == "STATE_SUCCEEDED"


def test_an_account_of_tenancy_is_read_by_its_sessions(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "sync", "--account", "prod")
    operator.services = TENANCY
    name = "tenants/acme/accounts/prod"
    kept = Account(name=name, cloud_account_id="123456789012")
    assert operator.answer("AccountService", "GetAccount", kept).name == name
    operator.services = SERVICES
    started = sync_pb2.Sync(name="tenants/acme/syncs/s1")
    request = operator.answer("SyncService", "StartSync", started)
    operator.stream("SyncService", "WatchSync", sync_event(2, sync_pb2.Sync.STATE_SUCCEEDED), ENDED)
    assert done.result(SECONDS).exit_code == 0
    assert (request.sync.account, request.sync.cloud_account_id) == (name, "123456789012")


def test_a_failed_run_is_exit_code_1(operator: Operator) -> None:
    failed = sync_pb2.Sync(
        state=sync_pb2.Sync.STATE_FAILED, error=status_pb2.Status(message="no credentials")
    )
    result, _ = run_sync(operator, sync_service_pb2.WatchSyncResponse(sync=failed), ENDED)
    assert result.exit_code == 1
    assert "no credentials" in result.stderr


def test_a_stream_without_its_end_was_cut(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.inventory.PATIENCE", 0.0)
    result, _ = run_sync(operator, sync_event(1, sync_pb2.Sync.STATE_RUNNING))
    assert result.exit_code == 3
    assert "the run goes on" in result.stderr


def test_a_run_is_followed_across_a_cut(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "resume", "s1")
    operator.answer("SyncService", "ResumeSync", sync_pb2.Sync(name="tenants/acme/syncs/s1"))
    operator.stream("SyncService", "WatchSync", sync_event(1, sync_pb2.Sync.STATE_RUNNING))
    again = operator.stream(
        "SyncService", "WatchSync", sync_event(2, sync_pb2.Sync.STATE_SUCCEEDED), ENDED
    )
    assert json.loads(done.result(SECONDS).stdout)["state"] == "STATE_SUCCEEDED"
    assert again.name == "tenants/acme/syncs/s1"


@pytest.mark.parametrize("name", ["r1", "tenants/acme/syncs/r1"])
def test_cancel_takes_a_run_by_id_or_name(operator: Operator, name: str) -> None:
    done = operator.run("-o", "json", "inventory", "cancel", name)
    cancelled = sync_pb2.Sync(
        name="tenants/acme/syncs/r1", state=sync_pb2.Sync.State.STATE_CANCELLED
    )
    request = operator.answer("SyncService", "CancelSync", cancelled)
    assert request.name == cancelled.name
    result = done.result(SECONDS)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "STATE_CANCELLED"


def test_resume_follows_the_run_to_its_end(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "resume", "r1")
    running = sync_pb2.Sync(name="tenants/acme/syncs/r1", state=sync_pb2.Sync.State.STATE_RUNNING)
    request = operator.answer("SyncService", "ResumeSync", running)
    assert request.name == running.name
    operator.stream("SyncService", "WatchSync", sync_event(2, sync_pb2.Sync.STATE_PARTIAL), ENDED)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["progress"]["unitsDone"] == 2
    assert "secmesh inventory manifest" in result.stderr


def test_policy_writes_documents_that_aws_takes(operator: Operator) -> None:
    done = operator.run("inventory", "policy", "--collection", "kms_keys", "--run", "r1")
    document = '{"Version":"2012-10-17","Statement":[]}'
    answer = policy_pb2.SuggestPolicyResponse(documents=[document])
    request = operator.answer("SyncService", "SuggestPolicy", answer)
    assert (request.parent, request.sync) == ("tenants/acme", "tenants/acme/syncs/r1")
    assert list(request.collections) == ["kms_keys"]
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(document)


def test_policy_says_that_nothing_is_missing(operator: Operator) -> None:
    done = operator.run("inventory", "policy", "--run", "tenants/acme/syncs/r1")
    request = operator.answer("SyncService", "SuggestPolicy", policy_pb2.SuggestPolicyResponse())
    assert request.sync == "tenants/acme/syncs/r1"
    result = done.result(SECONDS)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing is missing" in result.stderr


def _interrupted(*_: object, **__: object) -> Iterator[Message]:
    yield sync_event(1, sync_pb2.Sync.STATE_RUNNING)
    raise KeyboardInterrupt


def test_who_stops_following_is_told_that_the_run_goes_on(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.inventory.watch", _interrupted)
    done = operator.run("inventory", "resume", "s1")
    operator.answer("SyncService", "ResumeSync", sync_pb2.Sync(name="tenants/acme/syncs/s1"))
    result = done.result(SECONDS)
    assert result.exit_code == 130
    assert "goes on; end it with: secmesh inventory cancel tenants/acme/syncs/s1" in result.stderr


def test_a_watch_that_is_interrupted_says_where_to_go_on(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Iterator[Message]:
        yield WatchContradictionsResponse(revision="0-41", bookmark=WatchBookmark())
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.changes.watch", interrupted)
    result = operator.run("compliance", "watch").result(SECONDS)
    assert (result.exit_code, "go on with --since 0-41" in result.stderr) == (130, True)


def test_of_all_accounts_those_not_read_whole_are_named(operator: Operator) -> None:
    done = operator.run("inventory", "sync", "--all-accounts")
    operator.services = TENANCY
    kept = Account(
        name="tenants/acme/accounts/prod",
        cloud_account_id="123456789012",
        provider_type=PROVIDER_TYPE_AWS,
    )
    operator.answer("AccountService", "ListAccounts", ListAccountsResponse(accounts=[kept]))
    operator.services = SERVICES
    run = sync_pb2.Sync(name="tenants/acme/syncs/s1", state=sync_pb2.Sync.STATE_PARTIAL)
    operator.answer("SyncService", "StartSync", run)
    nothing = ListOrganizationsResponse()
    operator.answer("OrganizationService", "ListOrganizations", nothing)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert "not answered: secmesh inventory manifest tenants/acme/syncs/s1" in result.stderr


def test_what_was_deleted_leaves_no_empty_frame(operator: Operator) -> None:
    done = operator.run("compliance", "controls", "rm", "kms-only")
    operator.answer("ControlService", "DeleteControl", empty_pb2.Empty())
    result = done.result(SECONDS)
    assert (result.exit_code, result.output) == (0, "")
