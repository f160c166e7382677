"""Backups of the security service's database: of all of it, and of one tenant."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import orjson
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from mesh.contract.digest import contract_digest
from mesh.sql.backup.errors import BackupBroken, BackupProblem, BackupUnfit
from mesh.sql.backup.programs import find_programs
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.tenant import TenantBackup
from mesh.sql.engine import open_engine
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh_client import CallRefused
from tests.databases import isolated_database
from tests.service.security_world import CATALOGUE
from tests.service.seeded_world import TABLES, SeededWorld, environment_of, owned, seeded, settle

RECORDS = 150
PLANTED = "correct-horse-battery-staple"
KILLED = """
import os, signal, sys
from pathlib import Path
from mesh.contract.catalogue import load_catalogue
from mesh.contract.digest import contract_digest
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.backup.tenant import TenantBackup
from mesh.sql.engine import open_engine
from mesh.sql.tables import Tables

class Killed(Progress):
    def move(self, done, total):
        super().move(done, total)
        if self.phase is Phase[sys.argv[1]] and done > 100:
            os.kill(os.getpid(), signal.SIGKILL)

catalogue = load_catalogue("secmesh.security.v1")
tables = Tables(catalogue, isolated=True)
url = open_engine(os.environ["DATABASE_MIGRATE_URL"]).url
backup = TenantBackup(url, tables, contract_digest(catalogue))
if sys.argv[1] == "WRITING":
    backup.dump("acme", Path(sys.argv[2]), Killed())
else:
    backup.load("acme", Path(sys.argv[2]), Killed(), replace=True)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededWorld]:
    home = tmp_path_factory.mktemp("backed-up")
    os.environ["SECMESH_SECURITY_BACKUP_HOURS"] = "24"
    try:
        with seeded(home, "acme", "beta", records=RECORDS) as made:
            settle(made.access)
            plant(made)
            yield made
    finally:
        del os.environ["SECMESH_SECURITY_BACKUP_HOURS"]


@pytest.fixture(scope="module")
def archive(world: SeededWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of acme, as it was first."""
    file = tmp_path_factory.mktemp("archives") / "acme.zip"
    done = world.run("backup", "--tenant", "acme", str(file))
    assert done.returncode == 0, done.stderr
    return file


def plant(world: SeededWorld) -> None:
    """Keep a secret that no backup may show."""
    request = CreateRecordRequest(parent="tenants/acme/external_integrations")
    body: Any = request.record.external_integration
    body.name, body.provider = "planted", "siem"
    body.integration_type = body.direction = body.auth_type = body.status = 1
    body.is_enabled = True
    body.webhook_secret = PLANTED
    body.credentials.token = PLANTED
    world.world.stub.CreateRecord(request)


def backup_of(world: SeededWorld) -> TenantBackup:
    url = open_engine(world.access.owner).url
    return TenantBackup(url, TABLES, contract_digest(CATALOGUE))


def change(world: SeededWorld) -> None:
    """Change, remove and add records of acme."""
    with owned(world.access) as connection:
        connection.execute("UPDATE users SET display_name = 'x' WHERE tenant_id = 'acme'")
        connection.execute("DELETE FROM sast_issues WHERE tenant_id = 'acme'")
        connection.execute(
            "INSERT INTO device_types SELECT (d).* FROM (SELECT jsonb_populate_record(t, "
            """jsonb_build_object('id', 'added', 'code', 'added')) d FROM device_types t """
            "WHERE tenant_id = 'acme' LIMIT 1)"
        )
        connection.commit()


def versions(world: SeededWorld, tenant: str) -> list[tuple[object, ...]]:
    """Give by which transactions a tenant's rows were written: another one touched them."""
    with owned(world.access) as connection:
        return connection.execute(
            "SELECT id, xmin::text, xmax::text FROM users WHERE tenant_id = %s ORDER BY id",
            [tenant],
        ).fetchall()


def test_a_tenant_is_put_back_and_no_other_is_touched(world: SeededWorld, archive: Path) -> None:
    before, others = world.content("acme"), world.content("beta")
    touched = versions(world, "beta")
    change(world)
    assert world.content("acme") != before
    refused = world.run("restore", "--tenant", "acme", str(archive))
    assert refused.returncode == 1
    assert "only a replacement removes" in refused.stderr
    done = world.run("restore", "--tenant", "acme", str(archive), "--replace")
    assert done.returncode == 0, done.stderr
    told = re.fullmatch(r"acme: (\d+) rows restored\n", done.stdout)
    assert told is not None, done.stdout
    # With the entries of the audit log.
    assert int(told[1]) > sum(rows for rows, _ in before.values())
    assert world.content("acme") == before
    assert (world.content("beta"), versions(world, "beta")) == (others, touched)


def test_a_tenant_moves_to_an_empty_database(world: SeededWorld, archive: Path) -> None:
    with isolated_database(18) as elsewhere:
        done = world.run("restore", "--tenant", "acme", str(archive), access=elsewhere)
        assert done.returncode == 0, done.stderr
        assert world.content("acme", elsewhere) == world.content("acme")
        assert world.content("beta", elsewhere) == {}
        with owned(elsewhere) as connection:
            # What triggers derive is there too, and policies keep tenants apart.
            values = "SELECT count(*) FROM pg_class WHERE relrowsecurity AND relname = 'users'"
            assert connection.execute(values).fetchone() == (1,)


def test_no_backup_shows_a_secret(world: SeededWorld, archive: Path) -> None:
    with ZipFile(archive) as files:
        texts = {name: files.read(name) for name in files.namelist()}
    assert b"planted" in texts["tables/external_integrations.copy"]
    assert not [name for name, text in texts.items() if PLANTED.encode() in text]
    made = world.run("backup").stdout.split()[0]
    dumped = subprocess.run(
        [
            str(find_programs(18) / "pg_restore"),
            "--file=-",
            str(world.home / "security-backups" / f"{made}.backup"),
        ],
        capture_output=True,
        check=True,
    ).stdout
    assert b"planted" in dumped
    assert PLANTED.encode() not in dumped
    assert archive.stat().st_mode & 0o777 == 0o600


def test_a_backup_is_one_moment(world: SeededWorld, tmp_path: Path) -> None:
    before = world.content("acme")

    class Meanwhile(Progress):
        written = False

        def move(self, done: int, total: int) -> None:
            super().move(done, total)
            if not self.written:
                self.written = True
                change(world)

    file = tmp_path / "acme.zip"
    backup_of(world).dump("acme", file, Meanwhile())
    assert world.content("acme") != before
    backup_of(world).load("acme", file, Progress(), replace=True)
    assert world.content("acme") == before


def damaged(archive: Path, target: Path, name: str, change: "Change") -> Path:
    """Copy an archive with one of its files changed, as a whole ZIP archive."""
    with ZipFile(archive) as source, ZipFile(target, "w") as copy:
        for each in source.namelist():
            text = source.read(each)
            copy.writestr(each, change(text) if each == name else text)
    return target


class Change:
    """A named change of a file."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self.old, self.new = old, new

    def __call__(self, text: bytes) -> bytes:
        assert self.old in text
        return text.replace(self.old, self.new, 1)


@pytest.mark.parametrize(
    ("name", "change", "error", "words"),
    [
        ("tables/users.copy", Change(b"@example", b"@exomple"), BackupBroken, "users is not what"),
        ("tables/users.copy", Change(b"acme", b"beta"), BackupBroken, "rows of another tenant"),
        ("tables/users.copy", Change(b"\n", b"\nacme\tx\n"), BackupBroken, "users"),
        ("manifest.json", Change(b'"users"', b'"usurs"'), BackupUnfit, "other tables"),
        ("manifest.json", Change(b'"version": 1', b'"version": 2'), BackupUnfit, "version 2"),
        ("manifest.json", Change(b'"acme"', b'"beta"'), BackupUnfit, "another tenant"),
        ("manifest.json", Change(b"{", b"["), BackupBroken, "cannot be read"),
    ],
)
def test_what_was_changed_is_not_restored(
    world: SeededWorld,
    archive: Path,
    tmp_path: Path,
    name: str,
    change: Change,
    error: type[BackupProblem],
    words: str,
) -> None:
    before = world.content("acme")
    file = damaged(archive, tmp_path / "damaged.zip", name, change)
    with pytest.raises(error, match=words):
        backup_of(world).load("acme", file, Progress(), replace=True)
    assert world.content("acme") == before


def test_what_is_cut_or_of_another_contract_is_refused(
    world: SeededWorld, archive: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(BackupBroken):
        backup_of(world).load("acme", cut, Progress(), replace=True)
    strange = TenantBackup(open_engine(world.access.owner).url, TABLES, "another")
    with pytest.raises(BackupUnfit, match="another contract"):
        strange.load("acme", archive, Progress(), replace=True)
    with ZipFile(archive) as files:
        manifest = orjson.loads(files.read("manifest.json"))
    assert manifest["contract_digest"] == contract_digest(CATALOGUE)


def killed(world: SeededWorld, phase: str, file: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, phase, str(file)],
        env=environment_of(world.access, world.home),
        check=False,
        timeout=50,
    )
    return done.returncode == -signal.SIGKILL


def test_a_killed_backup_leaves_none_and_a_killed_restore_the_old_state(
    world: SeededWorld, archive: Path, tmp_path: Path
) -> None:
    before, file = world.content("acme"), tmp_path / "acme.zip"
    assert killed(world, "WRITING", file)
    assert not file.exists()
    with owned(world.access) as connection:
        connection.execute("UPDATE users SET display_name = 'y' WHERE tenant_id = 'acme'")
        connection.commit()
    changed = world.content("acme")
    assert killed(world, "RESTORING", archive)
    assert world.content("acme") == changed
    # What was left half-written is in nobody's way.
    backup_of(world).dump("acme", file, Progress())
    assert [each.name for each in tmp_path.iterdir()] == ["acme.zip"]
    backup_of(world).load("acme", archive, Progress(), replace=True)
    assert world.content("acme") == before


def test_a_file_is_never_overwritten(world: SeededWorld, archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(BackupProblem, match="is there already"):
        backup_of(world).dump("acme", archive, Progress())
    assert archive.read_bytes() == before


def test_a_tenant_without_records_is_named(world: SeededWorld, tmp_path: Path) -> None:
    with pytest.raises(BackupProblem, match="no records"):
        backup_of(world).dump("nobody", tmp_path / "nobody.zip", Progress())
    assert not list(tmp_path.iterdir())


def bookmark(stream: Any) -> str:
    """Give the revision of a stream's first event."""
    event = next(stream)
    assert event.HasField("bookmark")
    return str(event.revision)


def ending(stream: Any) -> str:
    """Read a stream to its end and give the reason in band."""
    *_, last = stream
    info = ErrorInfo()
    assert last.ended.details[0].Unpack(info)
    return str(info.reason)


def test_who_watches_the_tenant_is_told_to_begin_anew(world: SeededWorld, archive: Path) -> None:
    def watch(stub: Any, tenant: str, revision: str = "") -> Any:
        request = WatchRecordsRequest(parent=f"tenants/{tenant}/users", revision=revision)
        return stub.WatchRecords(request, timeout=100)

    mine = watch(world.world.stub, "acme")
    other = watch(world.world.strange, "beta")
    try:
        revision = bookmark(mine)
        bookmark(other)
        backup_of(world).load("acme", archive, Progress(), replace=True)
        assert ending(mine) == "REVISION_GONE"
        with pytest.raises(CallRefused) as refused:
            next(watch(world.world.stub, "acme", revision))
        assert refused.value.reason == "REVISION_GONE"
        fresh = watch(world.world.stub, "acme")
        bookmark(fresh)
        fresh.cancel()
        # The other tenant's watch goes on.
        request = CreateRecordRequest(parent="tenants/beta/users")
        body: Any = request.record.user
        body.email, body.username, body.role, body.status = "new@example.com", "new", 1, 1
        body.identity_provider = 1
        created = world.world.strange.CreateRecord(request)
        changed = next(event.changed for event in other if event.HasField("changed"))
        assert changed.name == created.name
    finally:
        mine.cancel()
        other.cancel()


def test_all_is_put_back_even_on_another_server(world: SeededWorld) -> None:
    before = {tenant: world.content(tenant) for tenant in ("acme", "beta")}
    assert {"firewall_logs", "rasp_telemetry"} <= before["acme"].keys()
    made = world.run("backup")
    assert made.returncode == 0, made.stderr
    name = made.stdout.split()[0]
    change(world)
    done = world.run("restore", name)
    assert done.returncode == 0, done.stderr
    assert {tenant: world.content(tenant) for tenant in before} == before
    listed = world.run("backups").stdout
    assert name in listed
    assert "safety" in listed
    with isolated_database(18) as elsewhere:
        done = world.run("restore", name, access=elsewhere)
        assert done.returncode == 0, done.stderr
        assert {tenant: world.content(tenant, elsewhere) for tenant in before} == before
        with owned(elsewhere) as connection:
            # The revisions of another server mean nothing here.
            assert connection.execute("SELECT count(*) FROM record_changes").fetchone() == (0,)
            floors = connection.execute("SELECT tenant_id FROM record_change_floors ORDER BY 1")
            assert floors.fetchall() == [("acme",), ("beta",)]


def test_the_service_backs_up_by_itself(world: SeededWorld) -> None:
    listed = world.process("backups")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "scheduled" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backup", "--tenant", "acme"), "go together"),
        (("backup", "file"), "go together"),
        (("restore", "20260101t000000-00000000"), "there is no backup"),
        (("restore", "x", "--replace"), "of one tenant"),
        (("restore", "--tenant", "acme", "missing.zip"), "missing.zip"),
    ],
)
def test_wrong_commands_say_why(world: SeededWorld, arguments: tuple[str, ...], words: str) -> None:
    refused = world.run(*arguments)
    assert refused.returncode == 1
    assert words in refused.stderr


def test_the_application_alone_cannot_back_up(world: SeededWorld, tmp_path: Path) -> None:
    refused = world.run(
        "backup", "--tenant", "acme", str(tmp_path / "acme.zip"), DATABASE_MIGRATE_URL=""
    )
    assert refused.returncode == 1
    assert not list(tmp_path.iterdir())
