"""ImportSqlite: an old database in its own schema, on a real server, on each database."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from secmesh.inventory.v1.record_pb2 import Record, Unread
from secmesh.inventory.v1.sqlite_import_pb2 import (
    ImportedTable,
    ImportSqliteRequest,
    ImportSqliteResponse,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.service.collect_world import CATALOGUE
from tests.service.store_world import ONE, TENANT, Kept, kept
from tests.service.test_store_check import check

OLD = """
CREATE TABLE iam_users (
    id INTEGER PRIMARY KEY,
    username TEXT UNIQUE,
    mfa_enabled BOOLEAN,
    last_login TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE s3_buckets (
    id INTEGER PRIMARY KEY,
    bucket_name TEXT UNIQUE,
    encryption TEXT,
    object_lock_mode TEXT,
    retention_days INTEGER,
    public_access_block BOOLEAN,
    kms_key_id TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE kms_keys (
    id INTEGER PRIMARY KEY, key_id TEXT UNIQUE, shape TEXT, updated_at TIMESTAMP
);
CREATE TABLE gamelift_fleets (id INTEGER PRIMARY KEY, link TEXT);
CREATE TABLE "we""ird" (a);
CREATE VIEW trap AS SELECT * FROM iam_users;
INSERT INTO iam_users VALUES
    (1, 'ann', 1, '2024-05-01T10:00:00Z', '2024-01-01 00:00:00', '2024-06-01 12:00:00'),
    (2, 'bob', 0, NULL, '2024-01-01 00:00:00', NULL),
    (3, 'cy', 'perhaps', 'last week', NULL, '2024-06-01 12:00:00'),
    (4, 'dee', 1, NULL, NULL, NULL),
    (5, NULL, 1, NULL, NULL, '2024-06-01 12:00:00');
INSERT INTO s3_buckets VALUES
    (1, 'logs', 'AES256', 'COMPLIANCE', 365, 1, NULL, NULL, '2024-06-01 12:00:00');
INSERT INTO kms_keys VALUES (1, 'k-1', 'round', '2024-06-01 12:00:00');
INSERT INTO gamelift_fleets VALUES (1, 'x'), (2, 'y');
"""


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        yield made


def old_database(folder: Path, script: str = OLD) -> bytes:
    path = folder / "protecht.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path.read_bytes()


async def imported(
    world: Kept, document: bytes, *, only: bool = False, region: str = ""
) -> tuple[ImportSqliteResponse, dict[str, ImportedTable]]:
    request = ImportSqliteRequest(
        parent=TENANT, cloud_account_id=ONE, document=document, validate_only=only, region=region
    )
    answer = await world.ask("ImportSqlite", request)
    assert isinstance(answer, ImportSqliteResponse)
    return answer, {table.table: table for table in answer.tables}


async def rows(world: Kept, collection: str) -> dict[str, Record]:
    found = await world.store.messages(collection, world.store.select(collection, "acme"))
    return {record.arn or record.name: record for record in found if isinstance(record, Record)}


def gaps(record: Record) -> dict[str, Unread]:
    return {each.field: each for each in record.unread}


async def test_an_old_database_is_taken_as_far_as_it_is_understood(
    world: Kept, tmp_path: Path
) -> None:
    document = old_database(tmp_path)
    answer, tables = await imported(world, document)
    assert set(tables) == {"iam_users", "s3_buckets", "kms_keys", "gamelift_fleets", 'we"ird'}
    users = tables["iam_users"]
    assert (users.rows, users.written, users.refused) == (5, 3, 2)
    assert {each.row for each in users.problems if not each.column} == {4, 5}
    assert {(each.row, each.column) for each in users.problems if each.column} == {
        (3, "mfa_enabled"),
        (3, "last_login"),
    }
    columns = {each.column: each for each in users.columns}
    assert columns["id"].field == columns["updated_at"].field == ""
    mfa = columns["mfa_enabled"]
    assert (mfa.field, mfa.taken, mfa.absent, mfa.not_understood) == ("mfa_enabled", 2, 0, 1)
    found = {each.iam_user.username: each for each in (await rows(world, "iam_users")).values()}
    assert set(found) == {"ann", "bob", "cy"}
    ann, bob, cy = (found[name] for name in ("ann", "bob", "cy"))
    assert ann.iam_user.mfa_enabled
    assert ann.iam_user.last_login.ToJsonString() == "2024-05-01T10:00:00Z"
    assert ann.valid_from.ToJsonString() == "2024-06-01T12:00:00Z"
    assert bob.valid_from.ToJsonString() == "2024-01-01T00:00:00Z"
    assert bob.iam_user.HasField("mfa_enabled")
    assert gaps(bob)["last_login"].code == "NullInOldDatabase"
    assert gaps(cy)["mfa_enabled"].code == "NotUnderstood"
    assert not cy.iam_user.HasField("mfa_enabled")
    # What the old schema does not have is unread, never a default.
    known = {"username", "mfa_enabled", "last_login"}
    assert gaps(ann).keys() == set(ann.iam_user.DESCRIPTOR.fields_by_name) - known
    assert {each.code for each in ann.unread} == {"NotInOldDatabase"}
    sync = await world.store.get("syncs", answer.sync)
    assert isinstance(sync, Sync)
    assert sync.source == Sync.SOURCE_SQLITE
    sound, _ = await check(world)
    assert sound == set()


async def test_a_bucket_gets_the_name_that_collecting_gives_it(world: Kept, tmp_path: Path) -> None:
    await imported(world, old_database(tmp_path))
    [bucket] = (await rows(world, "s3_buckets")).values()
    key = "\0".join((ONE, "global", "s3_buckets", "logs"))
    assert bucket.name.endswith(sha256(key.encode()).hexdigest()[:32])
    body = bucket.s3_bucket
    assert (body.encryption, body.object_lock_mode, body.retention_days) == (
        "AES256",
        "COMPLIANCE",
        365,
    )
    assert body.public_access_block


async def test_unknown_tables_are_told_not_lost(world: Kept, tmp_path: Path) -> None:
    _, tables = await imported(world, old_database(tmp_path))
    unknown = tables["gamelift_fleets"]
    assert (unknown.collection, unknown.rows, unknown.refused) == ("", 2, 2)
    assert [each.column for each in unknown.columns] == ["id", "link"]
    assert "gamelift_fleets" not in CATALOGUE.record_kinds


async def test_regional_rows_need_a_region(world: Kept, tmp_path: Path) -> None:
    document = old_database(tmp_path)
    _, tables = await imported(world, document)
    assert (tables["kms_keys"].written, tables["kms_keys"].refused) == (0, 1)
    assert "region" in tables["kms_keys"].problems[0].problem
    _, tables = await imported(world, document, region="eu-west-1")
    assert (tables["kms_keys"].written, tables["kms_keys"].refused) == (1, 0)
    assert [each.column for each in tables["kms_keys"].columns if not each.field] == [
        "id",
        "shape",
        "updated_at",
    ]
    [key] = (await rows(world, "kms_keys")).values()
    assert (key.region, key.kms_key.key_id) == ("eu-west-1", "k-1")


async def test_again_writes_nothing_and_a_trial_neither(world: Kept, tmp_path: Path) -> None:
    document = old_database(tmp_path)
    tried, tables = await imported(world, document, only=True)
    assert (tried.sync, tables["iam_users"].written) == ("", 3)
    assert await world.count("iam_users") == 0
    await imported(world, document)
    again, tables = await imported(world, document)
    assert again.sync == ""
    assert (tables["iam_users"].written, tables["iam_users"].unchanged) == (0, 3)
    assert (await world.count("iam_users"), await world.count("syncs")) == (3, 1)


async def test_what_is_no_database_is_refused(world: Kept, tmp_path: Path) -> None:
    document = old_database(tmp_path)
    for wrong in (b"no database", document[: len(document) // 2]):
        request = ImportSqliteRequest(parent=TENANT, cloud_account_id=ONE, document=wrong)
        error = await world.refused("ImportSqlite", request)
        assert error.reason == "FIELD_INVALID"
    foreign = ImportSqliteRequest(parent="tenants/beta", cloud_account_id=ONE, document=document)
    error = await world.refused("ImportSqlite", foreign, tenant="beta")
    assert error.reason == "ACCOUNT_NOT_GRANTED"
    assert await world.count("iam_users") == 0
