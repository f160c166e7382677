"""LoadRecords on a real server, on each database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import BadRequest

from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.store_service_pb2 import LoadRecordsRequest
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.service.collect_world import CATALOGUE
from tests.service.store_world import ONE, TENANT, TWO, Kept, kept, run, user
from tests.service.test_store_check import check


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        yield made


def plain(record: Record, **changes: Any) -> dict[str, Any]:
    return {**MessageToDict(record), **changes}


def request(*lines: Any, only: bool = False, account: str = ONE) -> LoadRecordsRequest:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return LoadRecordsRequest(
        parent=TENANT,
        cloud_account_id=account,
        document="\n".join(texts).encode(),
        validate_only=only,
    )


async def versions(world: Kept, record: str) -> list[Record]:
    table = world.store.target("iam_users").table
    statement = world.store.select("iam_users", "acme", past=True).where(table.c.id == record)
    found = await world.store.messages("iam_users", statement.order_by(table.c.valid_from))
    return [each for each in found if isinstance(each, Record)]


async def test_a_file_is_loaded_as_a_run_of_its_own(world: Kept) -> None:
    changed = user("a", 30)
    changed.iam_user.mfa_enabled = True
    gap = changed.unread.add(field="last_login", action="iam:GetUser", code="AccessDenied")
    lines = (plain(user("b", 20)), "", plain(changed))
    await world.put("iam_users", user("a", 10))
    tried = await world.ask("LoadRecords", request(*lines, only=True))
    assert (tried.written, tried.sync) == (2, "")
    assert await world.count("iam_users") == 1
    assert await world.count("syncs") == 0
    done = await world.ask("LoadRecords", request(*lines))
    assert (done.written, done.unchanged, done.outdated) == (2, 0, 0)
    old, new = await versions(world, "a")
    assert old.valid_to == new.valid_from == changed.valid_from
    assert new.sync == done.sync
    assert new.iam_user.mfa_enabled
    assert list(new.unread) == [gap]
    sync = await world.store.get("syncs", done.sync)
    assert isinstance(sync, Sync)
    assert (sync.source, sync.state) == (Sync.SOURCE_RECORDS, Sync.STATE_SUCCEEDED)
    # Nothing was listed: no manifest says that the account was read.
    assert await world.count("manifest_entries") == 0
    again = await world.ask("LoadRecords", request(*lines))
    assert (again.written, again.unchanged, again.sync) == (0, 2, "")
    assert await world.count("syncs") == 1
    found, _ = await check(world)
    assert found == set()


async def test_a_list_is_as_good_as_lines(world: Kept) -> None:
    listed = json.dumps([plain(user("a", 10)), plain(user("b", 10))])
    assert (await world.ask("LoadRecords", request(listed))).written == 2


async def test_what_is_older_changes_nothing(world: Kept) -> None:
    closed = user("gone", 10, 40)
    await world.put("iam_users", user("a", 30), closed)
    older = plain(user("a", 20), arn="arn:aws:iam::1:user/a")
    done = await world.ask("LoadRecords", request(older, plain(user("gone", 20))))
    assert (done.written, done.outdated) == (0, 2)
    assert await world.count("iam_users") == 2
    back = await world.ask("LoadRecords", request(plain(user("gone", 50))))
    assert back.written == 1


async def test_one_wrong_line_loads_nothing_and_each_is_named(world: Kept) -> None:
    good = user("good", 10)
    lines: list[Any] = [
        plain(good),
        "{",
        "7",
        plain(user("a", 10, account=TWO)),
        plain(user("b", 10, tenant="beta")),
        plain(user("c", 10, 20)),
        plain(user("d", 32_503_680_000)),
        plain(user("e", 10), moon=1),
        plain(user("f", 10), region=""),
        {**plain(user("g", 10)), "iamUser": {"username": "x" * 200}},
        plain(good),
        {key: value for key, value in plain(user("h", 10)).items() if key != "iamUser"},
    ]
    error = await world.refused("LoadRecords", request(*lines))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    bad = BadRequest()
    assert error.status is not None
    assert any(detail.Unpack(bad) for detail in error.status.details)
    told = dict(each.description.split(": ", 1) for each in bad.field_violations)
    for line, word in (
        (2, "JSON"), (3, "JSON"), (4, "account"), (5, TENANT), (6, "past"), (7, "future"),
        (8, "moon"), (9, "region"), (10, "iam_user.username"), (11, "second"), (12, "body"),
    ):  # fmt: skip
        assert word in told[f"line {line}"]
    assert len(told) == 11
    assert await world.count("iam_users") == 0


async def test_who_may_load_what(world: Kept) -> None:
    await world.put("syncs", run("live", 40, state=Sync.STATE_RUNNING))
    busy = await world.refused("LoadRecords", request(plain(user("a", 10))))
    assert busy.reason == "SYNC_RUNNING"
    denied = await world.refused("LoadRecords", request("{}"), roles=["operator"])
    assert denied.reason == "PERMISSION_MISSING"
    foreign = LoadRecordsRequest(parent="tenants/beta", cloud_account_id=ONE, document=b"{}")
    granted = await world.refused("LoadRecords", foreign, tenant="beta")
    assert (granted.code, granted.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "ACCOUNT_NOT_GRANTED",
    )
    assert "inventory.records.load" in {each.permission for each in CATALOGUE.methods.values()}
