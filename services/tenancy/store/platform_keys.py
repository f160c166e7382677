"""Keys of no tenant, which begin with what no tenant's id can begin with; see ``keys.py``."""

from services.tenancy.store.key_parts import LAST, META, IndexKeys, folded
from services.tenancy.store.key_parts import join as _join
from services.tenancy.store.key_parts import milliseconds as _milliseconds
from services.tenancy.store.key_parts import part as _part
from services.tenancy.store.key_parts import seconds as _seconds
from services.tenancy.store.key_parts import status as _status
from services.tenancy.store.port import Between, Key, Query, UpTo
from services.tenancy.store.tables import Table


class PlatformScope:
    """Keys and queries across tenants: for the platform's own principals and processes."""

    def tenant_guard(self, tenant_name: str) -> Key:
        """What keeps two tenants from having one name; leads to the tenant."""
        return Key(Table.TENANTS, f"#name#{folded(tenant_name)}", META)

    def signing_keys(self) -> Key:
        """The ring of the issuer's keys."""
        return Key(Table.TENANTS, "#issuer", META)

    def api_key_lookup(self, hashed: str) -> Key:
        """What leads from the hash of an API key to whose it is."""
        return Key(Table.TENANTS, f"#key#{_part(hashed)}", META)

    def by_status(self, status: str, created: int, tenant: str) -> IndexKeys:
        """The place of a tenant in the index by-status; ``created`` in microseconds."""
        index = Table.TENANTS.indexes["by-status"]
        return {index.pk: _status(status), index.sk: _join(_milliseconds(created), tenant)}

    def tenants(self, status: str) -> Query:
        """Tenants of a status by the time they were created."""
        return Query(Table.TENANTS, _status(status), "by-status")

    def by_account_id(self, account: str) -> IndexKeys:
        """The place of an account in the index by-id."""
        return {Table.ACCOUNTS.indexes["by-id"].pk: _part(account)}

    def account(self, account: str) -> Query:
        """The account of this id, whosever it is."""
        return Query(Table.ACCOUNTS, _part(account), "by-id", limit=1)

    def sharding(self) -> Key:
        """How many shards the indexes due and lease have (``sharding.py``)."""
        return Key(Table.SCHEDULES, "#sharding", META)

    def upkeep(self, job: str) -> Key:
        """Who does a job of the upkeep, and how it ended last (``upkeep/claims.py``)."""
        return Key(Table.TENANTS, "#upkeep", _part(job))

    def upkeep_jobs(self) -> Query:
        """All jobs of the upkeep, as they are at this moment."""
        return Query(Table.TENANTS, "#upkeep", consistent=True)

    def due_place(self, shard: int, fire: int, schedule: str) -> IndexKeys:
        """The place of a schedule in the index due, at ``fire`` (seconds since 1970)."""
        index = Table.SCHEDULES.indexes["due"]
        return {index.pk: f"D#{shard:02d}", index.sk: _join(_seconds(fire), schedule)}

    def due(self, shard: int, now: int) -> Query:
        """Schedules of a shard that are due at ``now`` (seconds), the oldest first."""
        return Query(Table.SCHEDULES, f"D#{shard:02d}", "due", UpTo(_seconds(now) + LAST))

    def due_after(self, shard: int, place: str, now: int) -> Query:
        """Those of ``due`` whose place (``due_place``, its sort key) comes after another."""
        # What follows a place begins with it and more, or is greater: no id holds a space.
        sk = Between(f"{place} ", _seconds(now) + LAST)
        return Query(Table.SCHEDULES, f"D#{shard:02d}", "due", sk)

    def lease_place(self, shard: int, visible: int, execution: str) -> IndexKeys:
        """The place of an execution in the index lease, at ``visible`` (seconds since 1970)."""
        index = Table.EXECUTIONS.indexes["lease"]
        return {index.pk: f"L#{shard:02d}", index.sk: _join(_seconds(visible), execution)}

    def visible(self, shard: int, now: int) -> Query:
        """Executions of a shard that wait for a worker at ``now`` (seconds), the oldest first."""
        return Query(Table.EXECUTIONS, f"L#{shard:02d}", "lease", UpTo(_seconds(now) + LAST))
