"""The command's side of the store's upkeep: what it asks, what it shows, how it leaves."""

import json

import pytest

from secmesh.inventory.v1 import iam_pb2, record_pb2, store_service_pb2, sync_pb2
from tests.unit.test_cli_commands import ENDED, SECONDS, Operator, operator, sync_event

__all__ = ["operator"]
ACCOUNT = "111111111111"


def test_stats_show_what_is_stored(operator: Operator) -> None:
    done = operator.run("inventory", "stats")
    answer = store_service_pb2.StoreStats(database="sqlite", database_version="3.40.1")
    answer.collections.add(collection="iam_users", current_rows=41, past_rows=7)
    answer.collections.add(collection="vpc")
    answer.accounts.add(cloud_account_id=ACCOUNT, current_rows=41)
    request = operator.answer("StoreService", "GetStats", answer)
    result = done.result(SECONDS)
    assert (result.exit_code, request.parent) == (0, "tenants/acme")
    assert "41" in result.stdout
    assert "vpc" not in result.stdout
    assert ACCOUNT in result.stdout
    assert "sqlite 3.40.1" in result.stderr


def test_stats_as_json_are_whole(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "stats")
    answer = store_service_pb2.StoreStats(database="sqlite")
    answer.collections.add(collection="vpc")
    operator.answer("StoreService", "GetStats", answer)
    assert json.loads(done.result(SECONDS).stdout)["collections"] == [{"collection": "vpc"}]


def test_a_sample_is_shown_by_collection(operator: Operator) -> None:
    done = operator.run("inventory", "sample", "--size", "2", "--seed", "7")
    users = [
        record_pb2.Record(name=f"tenants/acme/iam_users/{name}", iam_user=iam_pb2.IamUser())
        for name in ("ann", "bo")
    ]
    answer = store_service_pb2.SampleRecordsResponse(records=users)
    answer.records.add(name="tenants/acme/vpc/v").vpc.SetInParent()
    request = operator.answer("StoreService", "SampleRecords", answer)
    result = done.result(SECONDS)
    assert (request.parent, request.size, request.seed) == ("tenants/acme/-", 2, 7)
    assert result.stdout.index("iam_users") < result.stdout.index("bo") < result.stdout.index("vpc")


def test_reset_passes_the_confirmation_on(operator: Operator) -> None:
    arguments = ["inventory", "reset", "--account", ACCOUNT, "--account-again", ACCOUNT]
    done = operator.run("-o", "json", *arguments)
    answer = store_service_pb2.ResetAccountResponse()
    answer.deleted.add(collection="iam_users", rows=3)
    request = operator.answer("StoreService", "ResetAccount", answer)
    assert (request.confirm_cloud_account_id, request.validate_only) == (ACCOUNT, False)
    assert json.loads(done.result(SECONDS).stdout) == [{"collection": "iam_users", "rows": "3"}]


def test_a_dry_run_only_counts(operator: Operator) -> None:
    done = operator.run("inventory", "reset", "--account", ACCOUNT, "--dry-run")
    request = operator.answer(
        "StoreService", "ResetAccount", store_service_pb2.ResetAccountResponse()
    )
    assert request.validate_only
    assert done.result(SECONDS).exit_code == 0


def test_reset_without_a_terminal_needs_the_option(operator: Operator) -> None:
    result = operator.run("inventory", "reset", "--account", ACCOUNT).result(SECONDS)
    assert result.exit_code == 2
    assert "--account-again" in result.stderr


@pytest.mark.parametrize(("typed", "sent"), [(ACCOUNT, ACCOUNT), ("yes", "yes")])
def test_reset_on_a_terminal_asks_for_the_account(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, typed: str, sent: str
) -> None:
    monkeypatch.setattr("cli.store.is_interactive", lambda: True)
    monkeypatch.setattr("cli.store.typer.prompt", lambda *_, **__: typed)
    done = operator.run("inventory", "reset", "--account", ACCOUNT)
    counted = store_service_pb2.ResetAccountResponse(validate_only=True)
    counted.deleted.add(collection="iam_users", rows=3)
    assert operator.answer("StoreService", "ResetAccount", counted).validate_only
    request = operator.answer(
        "StoreService", "ResetAccount", store_service_pb2.ResetAccountResponse()
    )
    assert (request.confirm_cloud_account_id, request.validate_only) == (sent, False)
    assert "3 rows" in done.result(SECONDS).stderr


def test_reload_follows_the_run(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "reload", "--account", ACCOUNT)
    running = sync_pb2.Sync(name="tenants/acme/syncs/r1", state=sync_pb2.Sync.STATE_RUNNING)
    request = operator.answer("StoreService", "ReloadAccount", running)
    assert request.cloud_account_id == ACCOUNT
    operator.stream("SyncService", "WatchSync", sync_event(2, sync_pb2.Sync.STATE_SUCCEEDED), ENDED)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["state"] == "STATE_SUCCEEDED"
