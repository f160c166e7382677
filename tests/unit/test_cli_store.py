"""The command's side of the store's upkeep: what it asks, what it shows, how it leaves."""

import json
import re
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2

from secmesh.inventory.v1 import (
    backup_pb2,
    backup_service_pb2,
    iam_pb2,
    record_pb2,
    sqlite_import_pb2,
    store_service_pb2,
    sync_pb2,
)
from tests.unit.cli_operator import ENDED, SECONDS, Operator, operator, sync_event

__all__ = ["operator"]
ACCOUNT = "111111111111"


def test_stats_show_what_is_stored(operator: Operator) -> None:
    done = operator.run("inventory", "stats")
    answer = store_service_pb2.StoreStats(database="sqlite", database_version="3.40.1")
    answer.collections.add(collection="iam_users", current_rows=41, past_rows=7)
    answer.collections.add(collection="vpc")
    answer.accounts.add(cloud_account_id=ACCOUNT, current_rows=41)
    answer.backup_schedule.failure = "disk full"
    request = operator.answer("StoreService", "GetStats", answer)
    result = done.result(SECONDS)
    assert (result.exit_code, request.parent) == (0, "tenants/acme")
    assert "41" in result.stdout
    assert "vpc" not in result.stdout
    assert ACCOUNT in result.stdout
    assert "sqlite 3.40.1" in result.stderr
    assert "disk full" in result.stderr


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


BACKUP = "20260101t000000-00000000"


def test_a_backup_is_followed_to_its_end(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "backup")
    event = backup_service_pb2.CreateBackupResponse
    progress = backup_pb2.BackupProgress(phase=backup_pb2.BackupProgress.PHASE_WRITING, done=1)
    made = backup_pb2.Backup(name=f"backups/{BACKUP}")
    events = (event(progress=progress), event(backup=made), event(ended=status_pb2.Status()))
    operator.stream("BackupService", "CreateBackup", *events)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["name"] == made.name


def test_a_cut_restore_is_not_taken_for_done(operator: Operator) -> None:
    done = operator.run("inventory", "restore", BACKUP, "--yes")
    event = backup_service_pb2.RestoreBackupResponse
    result_event = event(result=backup_service_pb2.RestoreResult(safety_backup="backups/x"))
    request = operator.stream("BackupService", "RestoreBackup", result_event)
    assert (request.name, request.validate_only) == (f"backups/{BACKUP}", False)
    assert done.result(SECONDS).exit_code == 3


def test_a_restore_that_could_be_done_is_told_in_words_alone(operator: Operator) -> None:
    done = operator.run("inventory", "restore", BACKUP, "--dry-run")
    event = backup_service_pb2.RestoreBackupResponse
    events = (event(result=backup_service_pb2.RestoreResult()), event(ended=status_pb2.Status()))
    operator.stream("BackupService", "RestoreBackup", *events)
    result = done.result(SECONDS)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "It can be restored." in result.stderr


def test_a_restore_without_a_terminal_needs_yes(operator: Operator) -> None:
    result = operator.run("inventory", "restore", BACKUP).result(SECONDS)
    assert result.exit_code == 2
    assert "--yes" in result.stderr


def test_backups_are_listed_and_deleted(operator: Operator) -> None:
    done = operator.run("inventory", "backups")
    answer = backup_service_pb2.ListBackupsResponse()
    safety = backup_pb2.Backup.ORIGIN_SAFETY
    answer.backups.add(name=f"backups/{BACKUP}", origin=safety, encryption_key_id="kca549929")
    operator.answer("BackupService", "ListBackups", answer)
    listed = done.result(SECONDS).stdout
    assert "safety" in listed
    assert "kca549929" in listed
    done = operator.run("inventory", "delete-backup", BACKUP)
    request = operator.answer("BackupService", "DeleteBackup", Empty())
    assert (request.name, done.result(SECONDS).exit_code) == (f"backups/{BACKUP}", 0)


@pytest.mark.parametrize(("whole", "findings", "code"), [(True, 0, 0), (True, 1, 1), (False, 0, 3)])
def test_a_check_leaves_by_what_it_found(
    operator: Operator, whole: bool, findings: int, code: int
) -> None:
    done = operator.run("-o", "ndjson", "inventory", "check-store")
    event = store_service_pb2.CheckStoreResponse
    finding = store_service_pb2.StoreFinding(collection="vpc", problem="two versions overlap")
    progress = store_service_pb2.CheckStoreProgress(rows=7, findings=findings)
    events = [event(finding=finding)] * findings + [event(progress=progress)]
    events += [event(ended=status_pb2.Status())] * whole
    operator.stream("StoreService", "CheckStore", *events)
    result = done.result(SECONDS)
    assert result.exit_code == code, result.output
    assert result.stdout.count("two versions overlap") == findings


def test_load_sends_the_file(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "records.ndjson"
    file.write_bytes(b'{"name": "x"}')
    arguments = ["inventory", "load", str(file), "--account", ACCOUNT, "--dry-run"]
    done = operator.run("-o", "json", *arguments)
    answer = store_service_pb2.LoadRecordsResponse(written=3)
    request = operator.answer("StoreService", "LoadRecords", answer)
    assert (request.document, request.validate_only) == (b'{"name": "x"}', True)
    assert json.loads(done.result(SECONDS).stdout) == {"written": 3}
    gone = operator.run("inventory", "load", str(tmp_path / "none"), "--account", ACCOUNT)
    assert gone.result(SECONDS).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("inventory", "load", "FILE", "--account", ACCOUNT),
        ("inventory", "import-sqlite", "FILE", "--account", ACCOUNT),
        ("compliance", "controls", "import", "FILE"),
    ],
)
def test_a_file_that_no_message_takes_is_told_before_it_is_sent(
    operator: Operator, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as made:
        made.truncate((12 << 20) + 1)
    arguments = [str(file) if each == "FILE" else each for each in words]
    result = operator.run(*arguments).result(SECONDS)
    assert result.exit_code == 2
    assert "islargerthan12,582,912bytes" in re.sub(r"[\s│]", "", result.stderr)


def test_an_import_tells_what_was_not_taken(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "protecht.db"
    file.write_bytes(b"SQLite")
    arguments = ["inventory", "import-sqlite", str(file), "--account", ACCOUNT]
    done = operator.run(*arguments, "--region", "eu-west-1")
    answer = sqlite_import_pb2.ImportSqliteResponse()
    table = answer.tables.add(table="iam_users", collection="iam_users", rows=9, refused=1)
    table.columns.add(column="username", field="username", taken=8)
    table.columns.add(column="shoe_size")
    table.problems.add(row=4, problem="has no value that names it")
    request = operator.answer("StoreService", "ImportSqlite", answer)
    result = done.result(SECONDS)
    assert (request.document, request.region, result.exit_code) == (b"SQLite", "eu-west-1", 0)
    assert "shoe_size" in result.stdout
    assert "username" not in result.stdout
    assert "iam_users row 4: has no value that names it" in result.stderr
