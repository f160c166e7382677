"""What a migration promises, told from outside: small in the suite, whole in the soak test."""

from random import Random

from services.tenancy.migration.old_rows import OldCredential, OldRow
from services.tenancy.migration.vault import OldVault
from tests.service.migration_process import REFUSED, Migration
from tests.service.old_tenancy_database import read

SEALED = OldCredential.TABLE


async def migrated_and_back(
    migration: Migration, other: str, *, kills: int, chance: Random
) -> None:
    """Bring all over while processes are killed, compare, and write all into another old one."""
    broken = migration.spoil()
    _judged(migration)
    _are_told(migration, broken)
    _brought(migration, kills, chance)
    assert migration.run().returncode == 1
    _are_told(migration, broken)
    migration.mend(broken)
    ended = migration.run()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert migration.states() == {
        (rows[0].TABLE, "verified"): len(rows) for rows in migration.made.tables
    }
    assert migration.secrets() == len(migration.made.secrets)
    _is_quiet(migration)
    assert migration.run("--shadow").stdout == "the systems say the same\n"
    exported = migration.run("--export", url=other)
    assert exported.stdout == f"exported: {migration.made.number} rows\n"
    assert _opened(migration, await read(other)) == _opened(migration, await read(migration.url))


def _judged(migration: Migration) -> None:
    """A dry run finds what is broken, and writes nothing."""
    ended = migration.run("--dry-run")
    assert ended.returncode == 1
    assert migration.items() == migration.secrets() == 0
    assert not {state for _, state in migration.states()} & {"written", "verified"}


def _are_told(migration: Migration, broken: set[tuple[str, str]]) -> None:
    """What is refused is what was broken, and says why."""
    problems = migration.problems()
    assert set(problems) == broken
    assert all(each.startswith(REFUSED[key[0]]) for key, each in problems.items())


def _brought(migration: Migration, kills: int, chance: Random) -> None:
    """Kill processes wherever they are; each goes on from what those before it did."""
    before = 0
    for left in range(kills, 0, -1):
        rows = (migration.made.number - migration.done()) // (left + 1)
        assert migration.interrupted(chance.randint(1, max(rows, 1))) != 0
        assert migration.done() > before
        before = migration.done()


def _is_quiet(migration: Migration) -> None:
    """The ledger is of its owner alone and holds nothing secret; a run more changes nothing."""
    for file in migration.folder.glob("ledger*"):
        assert file.stat().st_mode & 0o077 == 0
        content = file.read_bytes()
        assert not any(each.encode() in content for each in migration.made.secrets)
    before = migration.items()
    assert migration.run().returncode == 0
    assert migration.items() == before


def _opened(migration: Migration, tables: dict[str, list[OldRow]]) -> dict[str, list[object]]:
    vault = OldVault(migration.keys)
    found: dict[str, list[object]] = {name: list(rows) for name, rows in tables.items()}
    found[SEALED] = [
        (row.account_id, vault.open(row.credentials_encrypted))
        for row in tables[SEALED]
        if isinstance(row, OldCredential)
    ]
    return found
