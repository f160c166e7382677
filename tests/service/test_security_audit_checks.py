"""Whatever is done to the audit log past the service is found, and the first broken entry named."""

import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import orjson
import pytest

from mesh.embedded.postgres import Access
from mesh.identity.keys import create_signing_key
from mesh.sealing.keyring import create_keys
from services.security.audit.command import VERIFY_AUDIT
from services.security.audit.entry import EntryForm
from services.security.audit.verification import Known, Verdict
from tests.service.audit_world import Tenant, tenant_of

_NUMBERS = count()
ENTRIES = 6
OWN = "tenant_id = :tenant AND chain_position = :place"


@pytest.fixture
async def tenant(audited_database: Access) -> AsyncIterator[Tenant]:
    """A tenant with a chain of some entries."""
    async with tenant_of(audited_database, f"checked-{next(_NUMBERS)}") as made:
        for number in range(ENTRIES):
            await made.create("teams", f"t{number}")
        await made.chain.catch_up(made.name)
        yield made


async def names(tenant: Tenant) -> list[str]:
    """Give the ids of the entries in the order of the chain."""
    async with tenant.store.whole() as connection:
        found = await connection.exec_driver_sql(
            "SELECT id FROM iam_audit_logs WHERE tenant_id = %(tenant)s ORDER BY chain_position",
            {"tenant": tenant.name},
        )
        return list(found.scalars())


def broken(verdict: Verdict) -> tuple[int, str, str]:
    return verdict.entries, verdict.entry.rpartition("/")[2], verdict.problem


async def test_a_chain_that_nobody_touched_is_whole(tenant: Tenant) -> None:
    verdict = await tenant.check()
    assert (verdict.entries, verdict.problem, verdict.entry) == (ENTRIES, "", "")
    assert verdict.head.position == ENTRIES


@pytest.mark.parametrize(
    "change",
    [
        "actor_name = 'bob'",
        "target_id = 'another'",
        "after_state = ''",
        "before_state = after_state",
        "event_time = event_time + interval '1 microsecond'",
        "outcome = 2",
        "source_ip = '192.0.2.1'",
        'labels = \'{"request_id": "forged"}\'',
        "entry_hash = repeat('0', 64)",
        "previous_hash = repeat('0', 64)",
        "previous_hash = NULL",
    ],
)
async def test_a_changed_field_is_found(tenant: Tenant, change: str) -> None:
    ids = await names(tenant)
    assert await tenant.tamper(f"UPDATE iam_audit_logs SET {change} WHERE {OWN}", place=3)  # noqa: S608  # statements of the test
    assert broken(await tenant.check()) == (2, ids[2], "was changed (place 3)")


async def test_a_changed_field_with_a_new_hash_is_found_at_the_next_entry(tenant: Tenant) -> None:
    ids = await names(tenant)
    form = EntryForm(tenant.store)
    async with tenant.store.whole() as connection:
        listed = tenant.store.select("iam_audit_logs", tenant.name, form.columns)
        rows = await tenant.store.fetch(listed, connection)
    row = next(dict(zip(form.columns, each, strict=True)) for each in rows if each.id == ids[2])
    row["actor_name"] = "bob"
    forged = form.hash(str(row["previous_hash"]), row)
    change = "actor_name = 'bob', entry_hash = :forged"
    await tenant.tamper(f"UPDATE iam_audit_logs SET {change} WHERE {OWN}", place=3, forged=forged)  # noqa: S608  # statements of the test
    problem = "does not follow the entry before it (place 4)"
    assert broken(await tenant.check()) == (3, ids[3], problem)


@pytest.mark.parametrize("place", range(1, ENTRIES))
async def test_a_removed_entry_is_found(tenant: Tenant, place: int) -> None:
    ids = await names(tenant)
    assert await tenant.tamper(f"DELETE FROM iam_audit_logs WHERE {OWN}", place=place)  # noqa: S608  # statements of the test
    problem = f"the entry at place {place} was removed"
    assert broken(await tenant.check()) == (place - 1, ids[place], problem)


async def test_a_removed_end_is_found(tenant: Tenant) -> None:
    await tenant.tamper(f"DELETE FROM iam_audit_logs WHERE {OWN}", place=ENTRIES)  # noqa: S608  # statements of the test
    problem = f"the entry at place {ENTRIES} was removed"
    assert broken(await tenant.check()) == (ENTRIES - 1, "", problem)


async def test_entries_in_another_order_are_found(tenant: Tenant) -> None:
    ids = await names(tenant)
    change = "chain_position = CASE chain_position WHEN 3 THEN 4 ELSE 3 END"
    where = "tenant_id = :tenant AND chain_position IN (3, 4)"
    assert await tenant.tamper(f"UPDATE iam_audit_logs SET {change} WHERE {where}") == 2  # noqa: S608  # statements of the test
    assert broken(await tenant.check()) == (2, ids[3], "was changed (place 3)")


async def insert_copy(tenant: Tenant, place: int, **values: str) -> None:
    """Insert an entry like another, with some columns of its own."""
    columns = EntryForm(tenant.store).columns
    chosen = ", ".join(values.get(name, name) for name in columns)
    await tenant.tamper(
        f"INSERT INTO iam_audit_logs ({', '.join(columns)}) "  # noqa: S608  # statements of the test
        f"SELECT {chosen} FROM iam_audit_logs WHERE {OWN}",
        place=place,
    )


async def test_an_inserted_entry_is_found(tenant: Tenant) -> None:
    ids = await names(tenant)
    forged = ids[2][:-1] + ("0" if ids[2][-1] != "0" else "1")
    await insert_copy(tenant, 3, id=f"'{forged}'")
    verdict = await tenant.check()
    # Of two with the same place the forged one may come first, and is no match of its hash.
    assert verdict.entry.rpartition("/")[2] in (ids[2], forged)
    assert verdict.problem in ("was changed (place 3)", "stands at the place 3 of another entry")


async def test_an_entry_that_was_added_at_the_end_is_found(tenant: Tenant) -> None:
    ids = await names(tenant)
    forged = ids[2][:-1] + ("0" if ids[2][-1] != "0" else "1")
    await insert_copy(tenant, 3, id=f"'{forged}'", chain_position=str(ENTRIES + 1))
    assert broken(await tenant.check()) == (ENTRIES, forged, f"was changed (place {ENTRIES + 1})")


async def test_an_entry_that_never_was_announced_is_found(tenant: Tenant) -> None:
    ids = await names(tenant)
    forged = ids[2][:-1] + ("0" if ids[2][-1] != "0" else "1")
    await insert_copy(tenant, 3, id=f"'{forged}'", chain_position="NULL", entry_hash="NULL")
    assert broken(await tenant.check()) == (ENTRIES, forged, "was inserted past the service")


async def test_a_whole_new_chain_is_told_by_an_end_that_was_known_before(tenant: Tenant) -> None:
    known = (await tenant.check()).head
    assert (await tenant.check(known=[known])).problem == ""
    await tenant.create("teams", "more")
    assert (await tenant.check(known=[known])).problem == ""
    other = Known(known.position, "0" * 64)
    ids = await names(tenant)
    problem = f"is not the entry that was known at place {ENTRIES}"
    assert broken(await tenant.check(known=[other]))[1:] == (ids[ENTRIES - 1], problem)
    beyond = Known(99, "0" * 64)
    assert (await tenant.check(known=[beyond])).problem == "the chain never came to place 99"


def verify(access: Access, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as operators do."""
    if not (home / "keys").exists():
        create_signing_key(home / "keys")
        create_keys(home / "sealing.keys")
    return subprocess.run(
        [sys.executable, "-m", "services.security", "verify-audit", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_HOME": str(home),
            "SECMESH_SECURITY_SEALING_KEYS": str(home / "sealing.keys"),
        },
    )


async def test_the_command_tells_whole_chains_from_broken_ones(
    tenant: Tenant, audited_database: Access, tmp_path: Path
) -> None:
    head = (await tenant.check()).head
    end = f"{head.position}:{head.hash}"
    done = verify(audited_database, tmp_path, "--tenant", tenant.name, "--known", end)
    line = f"{tenant.name}: {ENTRIES} entries, unbroken, end {end}\n"
    assert (done.returncode, done.stdout) == (0, line), done.stderr
    await tenant.tamper(f"DELETE FROM iam_audit_logs WHERE {OWN}", place=2)  # noqa: S608  # statements of the test
    done = verify(audited_database, tmp_path, "--output", "json")
    assert done.returncode == 1, done.stderr
    [found] = [each for each in orjson.loads(done.stdout) if each["tenant"] == tenant.name]
    assert found["problem"] == "the entry at place 2 was removed"
    assert found["entry"].startswith(f"tenants/{tenant.name}/iam_audit_logs/")


@pytest.mark.parametrize("wrong", [["--known", "1:abc"], ["--tenant", "No Tenant"]])
def test_what_the_command_cannot_read_is_refused(wrong: list[str]) -> None:
    parser = ArgumentParser()
    VERIFY_AUDIT.add_arguments(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(wrong)
    assert ended.value.code == 2
