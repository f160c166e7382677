"""Each command of tenancy once, for programs: what it writes is JSON, whatever it does."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from google.protobuf.json_format import MessageToJson

from cli.app import app
from services.tenancy.credentials.secrets import MAX_BYTES
from tests.service.credential_story import key_story
from tests.service.crypto_command import Command
from tests.service.tenancy_world import OPERATOR, World, tenancy_world
from tests.unit.fake_sts import PLATFORM

GROUPS = (
    *("tenants", "providers", "accounts", "credentials", "schedules", "executions"),
    *("tokens", "api-keys"),
)
PEOPLE = {"roles": ["platform", "admin"], "tenants": ["leaver"]}
READS = {"list", "ls", "get", "quotas", "versions", "log", "preview", "results", "keys", "due"}
"""What can be done twice, for the other form."""


class Typed:
    """Runs commands, notes which, and holds what each writes against the form asked for."""

    def __init__(self, world: World, tenant: str) -> None:
        self._own = Command(world.address, world.home, tenant)
        self._platform = Command(world.address, world.home, OPERATOR)
        self.done: set[tuple[str, str]] = set()

    async def __call__(self, line: str, *rest: str, typed: str = "") -> Any:
        return await self._run(self._own, [*line.split(), *rest], typed, {})

    async def platform(self, line: str, *rest: str) -> Any:
        return await self._run(self._platform, [*line.split(), *rest], "", PEOPLE)

    async def _run(
        self, command: Command, words: list[str], typed: str, claims: dict[str, Any]
    ) -> Any:
        self.done.add((words[0], words[1]))
        done = await command.run("-o", "json", *words, typed=typed, **claims)
        assert done.exit_code == 0, f"{words}: {done.output}"
        if words[1] in READS:
            lines = await command.run("-o", "ndjson", *words, **claims)
            assert all(isinstance(orjson.loads(each), dict) for each in lines.stdout.splitlines())
        return orjson.loads(done.stdout)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, principal_arn=PLATFORM) as opened:
        yield opened


async def test_each_command_writes_json(world: World, tmp_path: Path) -> None:
    story = await key_story(world)
    secmesh = Typed(world, story.tenant)
    await _clouds(secmesh)
    await _credentials(secmesh, story.account_id, MessageToJson(story.new_key()), story)
    await _schedules(world, secmesh, story.account_id)
    await _keys(secmesh, tmp_path)
    await _tenants(secmesh)
    commands: Any = typer.main.get_command(app)
    known = {(group, each) for group in GROUPS for each in commands.commands[group].commands}
    assert known == secmesh.done


async def _clouds(secmesh: Typed) -> None:
    await secmesh("providers create aws", "Another", "--id", "other")
    assert len(await secmesh("providers list")) >= 1
    await secmesh("providers get other")
    await secmesh("providers update other --name", "Renamed")
    await secmesh("providers delete other")
    await secmesh("providers undelete other")
    role = "arn:aws:iam::555566667777:role/scan"
    made = await secmesh("accounts create other 555566667777 Shop --role", role)
    account = made["name"].rsplit("/", 1)[-1]
    for verb in ("get", "onboard", "suspend", "resume", "delete", "undelete"):
        await secmesh(f"accounts {verb} {account}")
    await secmesh("accounts find aws 555566667777")
    await secmesh(f"accounts update {account} --name", "Market")
    assert len(await secmesh("accounts list")) >= 1


async def _credentials(secmesh: Typed, account: str, key: str, story: Any) -> None:
    await secmesh(f"credentials store {account} --aws-access-key -", typed=key)
    await secmesh(f"accounts verify {account}")
    await secmesh(f"credentials get {account}")
    await secmesh(f"credentials retrieve {account} --purpose drill")
    await secmesh(f"credentials vend {account} --purpose drill")
    other = MessageToJson(story.new_key())
    await secmesh(f"credentials rotate {account} --aws-access-key -", typed=other)
    assert len(await secmesh(f"credentials versions {account}")) == 2
    await secmesh(f"credentials rollback {account}")
    await secmesh(f"credentials set-rotation {account} --days 30")
    await secmesh(f"credentials delete {account}")
    await secmesh(f"credentials undelete {account}")
    assert await secmesh("credentials log") == await secmesh("credentials log --verify")


async def _schedules(world: World, secmesh: Typed, account: str) -> None:
    await secmesh(f"schedules create {account} @hourly --name Hourly --id hourly")
    for verb in ("get", "pause", "resume", "delete", "undelete"):
        await secmesh(f"schedules {verb} schedules/hourly")
    await secmesh("schedules list")
    await secmesh("schedules update schedules/hourly --jitter 60")
    await secmesh("schedules preview", "30 2 * * *", "--time-zone", "Europe/Berlin")
    world.clock.turn(3 * 3600)
    run = await secmesh("schedules trigger schedules/hourly --overlap allow")
    times = "--start 2027-01-15T09:00:00Z --end 2027-01-15T10:30:00Z"
    assert len(await secmesh(f"schedules backfill schedules/hourly {times}")) == 2
    await secmesh.platform("schedules due")
    await secmesh("executions list schedules/hourly")
    for verb in ("get", "cancel", "retry"):
        await secmesh(f"executions {verb} {run['name']}")
    await secmesh("executions results")


async def _keys(secmesh: Typed, folder: Path) -> None:
    made = await secmesh("tokens create scans --permission inventory.syncs.*")
    client, secret = made["serviceCredential"]["clientId"], made["clientSecret"]
    issued = await secmesh(f"tokens issue {client} -", typed=f"{secret}\n")
    assert issued["tokenType"] == "Bearer"
    (folder / "secret").write_text(secret)
    assert await secmesh(f"tokens issue {client} {folder / 'secret'}")
    for verb in ("list", "get scans", "rotate scans", "revoke scans", "delete scans"):
        await secmesh(f"tokens {verb}")
    listed = await secmesh.platform("tokens keys")
    await secmesh.platform("tokens rotate-key")
    await secmesh.platform(f"tokens revoke-key {listed[-1]['kid']}")
    key = (await secmesh("api-keys create --role viewer"))["apiKey"]["name"]
    await secmesh("api-keys ls")
    await secmesh(f"api-keys get {key}")
    await secmesh(f"api-keys update {key} --name", "ci")
    await secmesh(f"api-keys revoke {key}")


async def _tenants(secmesh: Typed) -> None:
    await secmesh("tenants get")
    await secmesh("tenants quotas")
    await secmesh("tenants update --description Skates")
    await secmesh.platform("tenants create leaver Leaver")
    await secmesh.platform("tenants find Leaver")
    await secmesh.platform("tenants list")
    await secmesh.platform("tenants set-quotas leaver --accounts 5")
    await secmesh.platform("tenants delete leaver")
    await secmesh.platform("tenants undelete leaver")
    await secmesh.platform("tenants offboard leaver --plan")


async def test_the_largest_secret_comes_from_standard_input_and_goes_nowhere_else(
    world: World,
) -> None:
    story = await key_story(world)
    secmesh = Command(world.address, world.home, story.tenant)
    key = json.loads(MessageToJson(story.new_key(), preserving_proto_field_name=True))
    words = ("credentials", "store", story.account_id, "--aws-access-key", "-")
    large = json.dumps(key | {"secret_access_key": "s3cret" * (MAX_BYTES // 6)})
    refused = await secmesh.run(*words, typed=large)
    assert refused.exit_code == 1
    assert "INVALID_ARGUMENT" in refused.stderr
    assert "s3crets3cret" not in refused.output
    padded = json.dumps(key) + " " * MAX_BYTES
    stored = await secmesh.run("-o", "json", *words, typed=padded)
    assert stored.exit_code == 0, stored.output
    assert key["secret_access_key"] not in stored.output
