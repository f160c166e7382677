"""The old system's database brought over, interrupted wherever it can be, and brought back."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.fernet import Fernet

from mesh.errors import DependencyUnavailable
from services.tenancy.credentials.parts import CredentialParts, Custody
from services.tenancy.migration import mapping
from services.tenancy.migration.current import Current
from services.tenancy.migration.importer import Importer
from services.tenancy.migration.ledger import Ledger, State
from services.tenancy.migration.old_database import OldDatabase
from services.tenancy.migration.old_rows import OldCredential, OldRow
from services.tenancy.migration.pace import MOST_PER_SECOND, PacedSecrets
from services.tenancy.migration.shadow import Shadow
from services.tenancy.migration.target import Target
from services.tenancy.migration.vault import KeysInvalid, OldVault
from services.tenancy.pace import Pace
from services.tenancy.parts import Parts
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Action, Store
from tests.databases import NEWEST, empty_database
from tests.service.old_tenancy_database import Made, create, fill, read
from tests.service.tenancy_world import TurnedClock, settings_of
from tests.unit.fake_prober import FakeProber
from tests.unit.fake_secrets import FakeSecrets
from tests.unit.fake_sts import FakeSecurityTokens

KEYS = [Fernet.generate_key().decode() for _ in range(2)]
VAULT = OldVault(KEYS)


class Killed(Exception):
    """Stands for the end of the process."""


class Breaking:
    """A store whose process ends at a call, before or after what it does."""

    def __init__(self, store: Store, chance: Random) -> None:
        self._store = store
        self._chance = chance
        self.left = -1
        """Calls until then; never below 0."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, *actions: Action, token: str = "") -> None:
        self.left -= 1
        if self.left == 0 and self._chance.random() < 0.5:
            raise Killed
        await self._store.write(*actions, token=token)
        if self.left == 0:
            raise Killed


@dataclass
class World:
    """An old database and an empty new system."""

    url: str
    made: Made
    store: Breaking
    parts: Parts
    credentials: CredentialParts
    secrets: FakeSecrets
    clock: TurnedClock
    ledger: Path

    @property
    def current(self) -> Current:
        return Current(self.parts, self.credentials, VAULT)

    async def run(self, *, dry: bool = False, activate: bool = False) -> int:
        """One process: what it knew is gone afterwards, but for the ledger."""
        ledger, old = Ledger(self.ledger), await OldDatabase.open(self.url)
        target = Target(self.parts, self.credentials)
        importer = Importer(old, VAULT, target, self.current, ledger)
        try:
            if activate:
                return await importer.activate()
            await importer.run(dry=dry)
        finally:
            ledger.close()
            await old.close()
        return 0

    def counts(self) -> dict[State, int]:
        ledger = Ledger(self.ledger)
        found: dict[State, int] = {}
        for (_, state), number in ledger.counts().items():
            found[state] = found.get(state, 0) + number
        ledger.close()
        return found

    def problems(self) -> dict[tuple[str, str], str]:
        ledger = Ledger(self.ledger)
        found = {(kind, identity): problem for kind, identity, problem in ledger.problems()}
        ledger.close()
        return found


async def world_of(url: str, folder: Path, accounts: int, tenants: int) -> World:
    made = Made(VAULT, accounts, tenants)
    await fill(url, made)
    clock = TurnedClock()
    store = Breaking(MemoryStore(clock=clock), Random(1))
    secrets = FakeSecrets(clock.now, 50)
    custody = Custody(PacedSecrets(secrets, clock), FakeSecurityTokens(clock.now), FakeProber())
    parts = Parts(settings=settings_of(), store=store, clock=clock, key=b"k" * 32, custody=custody)
    assert parts.credentials is not None
    return World(url, made, store, parts, parts.credentials, secrets, clock, folder / "ledger")


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(NEWEST, tmp_path_factory) as found:
        create(found)
        yield found


@pytest.fixture
def other_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(NEWEST, tmp_path_factory) as found:
        create(found)
        yield found


@pytest.fixture
async def small(url: str, tmp_path: Path) -> World:
    return await world_of(url, tmp_path, accounts=20, tenants=2)


async def test_a_thousand_accounts_interrupted_and_resumed(
    url: str, other_url: str, tmp_path: Path
) -> None:
    world = await world_of(url, tmp_path, accounts=1_000, tenants=8)
    began, interruptions, chance = world.clock.now(), 0, Random(2)
    while True:
        world.store.left = chance.randint(100, 900)
        try:
            await world.run()
        except Killed:
            interruptions += 1
        else:
            break
    world.store.left = -1
    assert interruptions >= 3
    assert world.counts() == {State.VERIFIED: world.made.number}
    writes = sum(world.secrets.calls[each] for each in ("create", "put", "move"))
    assert writes >= 2 * len(world.made.secrets)
    assert (world.clock.now() - began) / 1_000_000 >= (writes - interruptions - 1) / 40

    old = await OldDatabase.open(url)
    shadow = Shadow(old, world.current, VAULT)
    assert await shadow.differences() == {}
    into = await OldDatabase.open(other_url)
    assert await shadow.export(into) == world.made.number
    await into.close()
    await old.close()
    before, after = await read(url), await read(other_url)
    sealed = "account_credentials"
    for table in before.keys() - {sealed}:
        assert after[table] == before[table]
    opened = [
        [VAULT.open(row.credentials_encrypted) for row in rows[sealed]]  # type: ignore[union-attr]  # rows of that table
        for rows in (before, after)
    ]
    assert opened[0] == opened[1]

    ledger = world.ledger.read_bytes()
    assert not any(secret.encode() in ledger for secret in world.made.secrets)
    assert world.ledger.stat().st_mode & 0o077 == 0


async def put(world: World, *rows: OldRow) -> None:
    old = await OldDatabase.open(world.url)
    for row in rows:
        await old.put([row])
    await old.close()


async def shadow(world: World) -> dict[tuple[str, str], int]:
    old = await OldDatabase.open(world.url)
    found = await Shadow(old, world.current, VAULT).differences()
    await old.close()
    return dict(found)


async def test_a_dry_run_writes_nothing_but_its_findings(small: World) -> None:
    bad = replace(small.made.credentials[0], credentials_encrypted="gAAAA-not-ours")
    await put(small, bad)
    await small.run(dry=True)
    assert small.problems() == {
        ("account_credentials", bad.account_id): "none of the keys opens its credential"
    }
    assert small.secrets.calls.total() == 0
    for tenant in small.made.tenants:
        scope = TenantScope(mapping.tenant_id(tenant.tenant_id))
        assert await small.parts.store.get(scope.tenant_key()) is None
    assert (await shadow(small))["tenants", "missing"] == len(small.made.tenants)
    await put(small, small.made.credentials[0])
    await small.run()
    assert small.counts() == {State.VERIFIED: small.made.number}


async def test_rows_that_do_not_fit_are_named_and_the_others_come(small: World) -> None:
    made = small.made
    tenant = replace(made.tenants[0], tenant_id="UPPER", tenant_name="Upper")
    account = replace(made.accounts[1], account_number="12")
    schedule = replace(made.schedules[1], cron_expression="never", schedule_type="cron")
    await put(small, tenant, account, schedule)
    await small.run(dry=True)
    found = {key for key in small.problems() if key[0] != "account_credentials"}
    await small.run()
    problems = small.problems()
    # What is told before is what is refused then, but for what rests upon it.
    assert found == {key for key in problems if key[0] != "account_credentials"}
    assert problems["tenants", "UPPER"] == "tenant_id fits no id of a tenant"
    assert problems["accounts", account.account_id] == (
        "FIELD_INVALID: account.cloud_account_id: must be 12 digits"
    )
    assert "FIELD_INVALID: schedule.expression: " in problems["schedules", schedule.schedule_id]
    assert problems["account_credentials", account.account_id] == "its account was not brought over"
    assert len(problems) == 4
    assert small.counts()[State.VERIFIED] == made.number - 3
    # Mended in the old system, they come with the next run.
    await put(small, made.accounts[1], made.schedules[1])
    await small.run()
    assert set(small.problems()) == {("tenants", "UPPER")}


async def test_a_role_s_external_id_is_kept_unless_others_have_it(small: World) -> None:
    made = small.made
    roles = [each for each in made.accounts if each.credential_type == "aws_iam_role"]
    for account in roles[:2]:
        parts = {
            "role_arn": f"arn:aws:iam::{account.account_number}:role/scan",
            "external_id": "the-same-for-all",
        }
        sealed = VAULT.seal(json.dumps(parts))
        await put(small, OldCredential(account.account_id, sealed))
    await small.run()
    kept = {}
    for account in roles:
        scope = TenantScope(mapping.tenant_id(account.tenant_id))
        item = await small.parts.store.get(scope.account(account.account_id))
        assert item is not None
        kept[account.account_id] = item["external_id"]
    old = {
        each.account_id: json.loads(VAULT.open(each.credentials_encrypted))
        for each in made.credentials
    }
    for account in roles[2:]:
        assert kept[account.account_id] == old[account.account_id]["external_id"]
    ours = [str(kept[each.account_id]) for each in roles[:2]]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ours)
    assert ours[0] != ours[1]
    assert await shadow(small) == {("account_credentials", "credentials_encrypted"): 2}


async def test_schedules_wait_until_they_are_activated(small: World) -> None:
    await small.run()

    async def due() -> int:
        found = 0
        for shard in range(16):
            query = PlatformScope().due(shard, 9_999_999_999)
            found += len((await small.parts.store.query(query)).items)
        return found

    enabled = sum(each.enabled for each in small.made.schedules)
    assert 0 < enabled < len(small.made.schedules)
    assert await due() == 0
    assert await small.run(activate=True) == enabled
    assert await due() == enabled
    assert await small.run(activate=True) == 0
    assert await shadow(small) == {}


async def test_shadow_reads_count_what_changed_since(small: World) -> None:
    await small.run()
    made = small.made
    keyed = next(each for each in made.accounts if each.credential_type == "aws_access_key")
    parts = {"access_key_id": "AKIAOTHER", "secret_access_key": "other"}
    await put(
        small,
        replace(made.tenants[0], tenant_name="Renamed"),
        replace(made.schedules[0], enabled=not made.schedules[0].enabled, timezone="Asia/Tokyo"),
        OldCredential(keyed.account_id, VAULT.seal(json.dumps(parts))),
    )
    assert await shadow(small) == {
        ("tenants", "tenant_name"): 1,
        ("schedules", "enabled"): 1,
        ("schedules", "timezone"): 1,
        ("account_credentials", "credentials_encrypted"): 1,
    }


async def test_what_stands_there_otherwise_is_not_overwritten(small: World) -> None:
    """Somebody made the account before, by hand."""
    await small.run()
    account = small.made.accounts[3]
    await put(small, replace(account, account_name="Another"))
    small.ledger.unlink()
    for extra in small.ledger.parent.glob("ledger-*"):
        extra.unlink()
    await small.run()
    assert small.problems() == {
        ("accounts", account.account_id): "account_name",
        ("account_credentials", account.account_id): "its account was not brought over",
    }


async def test_an_outage_ends_the_run_and_refuses_no_row(small: World) -> None:
    small.secrets.down = True
    with pytest.raises(DependencyUnavailable):
        await small.run()
    assert small.problems() == {}
    small.secrets.down = False
    await small.run()
    assert small.counts() == {State.VERIFIED: small.made.number}


async def test_no_second_has_more_writes_than_forty() -> None:
    clock, chance, at = TurnedClock(), Random(3), list[int]()
    pace = Pace(clock, MOST_PER_SECOND)
    for _ in range(400):
        await pace.take()
        at.append(clock.now())
        if chance.random() < 0.05:
            await clock.sleep(chance.uniform(0, 2))
    assert max(bisect_left(at, moment + 1_000_000) - each for each, moment in enumerate(at)) <= 40


def test_keys_that_are_none_are_refused_without_being_told() -> None:
    with pytest.raises(KeysInvalid) as problem:
        OldVault([KEYS[0], "almost-a-key"])
    assert "almost" not in str(problem.value)


def test_an_older_key_still_opens_and_the_newest_seals() -> None:
    older = OldVault(KEYS[1:])
    assert VAULT.open(older.seal("secret")) == "secret"
    with pytest.raises(mapping.Unfit):
        older.open(VAULT.seal("secret"))
