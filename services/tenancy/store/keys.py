"""Keys of items: with ``platform_keys.py`` the only place that builds them.

Every partition of a tenant is called ``<tenant>`` or ``<tenant>#...``, in tables and in
indexes, so that IAM can keep tenants apart by ``dynamodb:LeadingKeys``. Partitions of no
tenant begin with what no tenant's id can begin with: a capital or ``#``.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final
from zlib import crc32

from services.tenancy.store.key_parts import (
    LAST,
    META,
    MILLISECONDS_DIGITS,
    SEPARATOR,
    IndexKeys,
    KeyInvalid,
    folded,
    month_of,
)
from services.tenancy.store.key_parts import digits as _digits
from services.tenancy.store.key_parts import join as _join
from services.tenancy.store.key_parts import last as _last
from services.tenancy.store.key_parts import milliseconds as _milliseconds
from services.tenancy.store.key_parts import part as _part
from services.tenancy.store.key_parts import seconds as _seconds
from services.tenancy.store.platform_keys import PlatformScope
from services.tenancy.store.port import Between, Key, Prefix, Query
from services.tenancy.store.tables import PK, SK, Table
from services.tenancy.store.values import Item, Value

LATEST: Final = "LATEST"
_TENANT = re.compile(r"[a-z][a-z0-9-]{2,62}")
_FIRED, _MANUAL = "F", "M"
_OF_EXECUTIONS = re.compile(r"F#\d{10}|M#[^#~]+")


def shard_of(identifier: str, shards: int) -> int:
    """Give the shard of a schedule or execution: the same in every process and release."""
    return crc32(identifier.encode()) % shards


def key_of(table: Table, item: Item) -> Key:
    """Give the key of an item that a query found, also in an index."""
    return Key(table, str(item[PK]), str(item[SK]))


def tenant_of_item(item: Mapping[str, Value]) -> str:
    """Give the tenant whose partition an item stands in."""
    return str(item[PK]).partition(SEPARATOR)[0]


class TenantScope:
    """The keys and queries of one tenant; there is no way from it to another's items."""

    def __init__(self, tenant: str) -> None:
        """Take the tenant's id; KeyInvalid if it is none."""
        if not _TENANT.fullmatch(tenant):
            raise KeyInvalid("no id of a tenant")
        self.tenant = tenant

    # Tenants: the tenant itself, its counters, requests that were answered.

    def tenant_key(self) -> Key:
        """The tenant's own item."""
        return Key(Table.TENANTS, self.tenant, META)

    def quota(self) -> Key:
        """The tenant's counters (``quotas.py``)."""
        return Key(Table.TENANTS, self._pk("quota"), META)

    def offboarding(self) -> Key:
        """What is told of the tenant when it leaves; it stays."""
        return Key(Table.TENANTS, self._pk("offboarding"), META)

    def idempotency(self, request: str) -> Key:
        """What was answered to a request (``idempotency.py``)."""
        return Key(Table.TENANTS, self._pk("idem"), _last(request))

    def requests(self) -> Query:
        """The requests that were answered lately."""
        return Query(Table.TENANTS, self._pk("idem"))

    # Service credentials

    def service_credential(self, credential: str) -> Key:
        """What a service shows to get tokens."""
        return Key(Table.TENANTS, self._pk("service"), _part(credential))

    def service_credentials(self) -> Query:
        """All service credentials by id, as they are at this moment."""
        return Query(Table.TENANTS, self._pk("service"), consistent=True)

    # API keys

    def api_key(self, api_key: str) -> Key:
        """What is known of an API key."""
        return Key(Table.TENANTS, self._pk("keys"), _last(api_key))

    def api_keys(self) -> Query:
        """All API keys by id, as they are at this moment."""
        return Query(Table.TENANTS, self._pk("keys"), consistent=True)

    # Providers

    def provider(self, provider: str) -> Key:
        """A provider."""
        return Key(Table.PROVIDERS, self.tenant, _join("P", provider))

    def provider_guard(self, csp: str, provider_name: str) -> Key:
        """What keeps two providers of one cloud from having one name."""
        return Key(
            Table.PROVIDERS, self.tenant, _join("U", csp) + SEPARATOR + folded(provider_name)
        )

    def providers(self) -> Query:
        """All providers by id, as they are at this moment."""
        return Query(Table.PROVIDERS, self.tenant, sk=Prefix("P#"), consistent=True)

    # Accounts

    def account(self, account: str) -> Key:
        """An account."""
        return Key(Table.ACCOUNTS, self.tenant, _join("A", account))

    def account_guard(self, csp: str, native_id: str) -> Key:
        """What keeps an account of a cloud from being registered twice; leads to the account."""
        return Key(Table.ACCOUNTS, self.tenant, _join("U", csp) + SEPARATOR + folded(native_id))

    def accounts(self) -> Query:
        """All accounts by id, as they are at this moment."""
        return Query(Table.ACCOUNTS, self.tenant, sk=Prefix("A#"), consistent=True)

    def by_provider(self, provider: str, status: str, account: str) -> IndexKeys:
        """The place of an account in the index by-provider."""
        index = Table.ACCOUNTS.indexes["by-provider"]
        return {index.pk: self._pk(provider), index.sk: _join(status, account)}

    def accounts_of_provider(self, provider: str, status: str = "") -> Query:
        """Accounts of a provider by status and id; those of one status if it is given."""
        sk = Prefix(_part(status) + SEPARATOR) if status else None
        return Query(Table.ACCOUNTS, self._pk(provider), "by-provider", sk)

    # Credentials

    def credential(self, account: str) -> Key:
        """What is known of the credential of an account."""
        return Key(Table.ACCOUNTS, self.tenant, _join("C", account))

    def credentials(self) -> Query:
        """What is known of all credentials, by account."""
        return Query(Table.ACCOUNTS, self.tenant, sk=Prefix("C#"), consistent=True)

    def credential_access(self, number: int) -> Key:
        """An entry of the log of what was done with credentials, counted from 1."""
        return Key(Table.ACCOUNTS, self._pk("access"), _digits(number, MILLISECONDS_DIGITS))

    def credential_accesses(self) -> Query:
        """The entries of that log, the newest first."""
        return Query(Table.ACCOUNTS, self._pk("access"), forward=False, consistent=True)

    def access_checkpoint(self) -> Key:
        """Where that log begins, once its oldest entries were removed."""
        return Key(Table.ACCOUNTS, self.tenant, _join("L", "access"))

    # Schedules

    def schedule(self, schedule: str) -> Key:
        """A schedule."""
        return Key(Table.SCHEDULES, self.tenant, _join("S", schedule))

    def schedules(self) -> Query:
        """All schedules by id, as they are at this moment."""
        return Query(Table.SCHEDULES, self.tenant, sk=Prefix("S#"), consistent=True)

    def schedule_by_account(self, account: str, schedule: str) -> IndexKeys:
        """The place of a schedule in the index by-account."""
        index = Table.SCHEDULES.indexes["by-account"]
        return {index.pk: self._pk(account), index.sk: _last(schedule)}

    def schedules_of_account(self, account: str) -> Query:
        """Schedules of an account by id."""
        return Query(Table.SCHEDULES, self._pk(account), "by-account")

    def account_fires(self, account: str) -> Key:
        """How often the schedules of an account fire, all together."""
        return Key(Table.SCHEDULES, self.tenant, _join("C", account))

    # Executions

    def execution(self, schedule: str, fire: int) -> Key:
        """The one execution of the occurrence of a schedule at ``fire`` (seconds since 1970)."""
        return Key(Table.EXECUTIONS, self._pk(schedule), _join(_FIRED, _seconds(fire)))

    def manual_execution(self, schedule: str, token: str) -> Key:
        """The one execution that a request started outside the schedule."""
        return Key(Table.EXECUTIONS, self._pk(schedule), _join(_MANUAL, token))

    def execution_of(self, execution: str) -> Key | None:
        """The execution of an id of ``execution_id``; None if it is none of this tenant's."""
        try:
            raw = base64.urlsafe_b64decode(execution + "=" * (-len(execution) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        tenant, _, rest = raw.partition("\n")
        schedule, _, sk = rest.partition("\n")
        if tenant != self.tenant or not _OF_EXECUTIONS.fullmatch(sk):
            return None
        try:
            key = Key(Table.EXECUTIONS, self._pk(schedule), sk)
        except KeyInvalid:
            return None
        # Only what was written here is taken: one execution has one id.
        return key if execution_id(key) == execution else None

    def executions_of_schedule(self, schedule: str, since: int = 0, until: int = 0) -> Query:
        """Executions of a schedule's own occurrences, from ``since`` to ``until`` in seconds."""
        low = _join(_FIRED, _seconds(since))
        high = f"{_FIRED}{SEPARATOR}{_seconds(until) if until else ''}{LAST}"
        return Query(Table.EXECUTIONS, self._pk(schedule), sk=Between(low, high), consistent=True)

    def manual_executions_of_schedule(self, schedule: str) -> Query:
        """Executions of a schedule that requests started."""
        return Query(
            Table.EXECUTIONS, self._pk(schedule), sk=Prefix(f"{_MANUAL}#"), consistent=True
        )

    def execution_indexes(self, account: str, fire: int, created: int, execution: str) -> IndexKeys:
        """The places of an execution in by-account and by-tenant.

        ``fire`` counts seconds, ``created`` microseconds since 1970.
        """
        account_index = Table.EXECUTIONS.indexes["by-account"]
        month_index = Table.EXECUTIONS.indexes["by-tenant"]
        return {
            account_index.pk: self._pk(account),
            account_index.sk: _join(_seconds(fire), execution),
            month_index.pk: self._pk(month_of(created)),
            month_index.sk: _join(_milliseconds(created), execution),
        }

    def executions_of_account(self, account: str, since: int = 0, until: int = 0) -> Query:
        """Executions of an account by fire time, from ``since`` to ``until`` in seconds."""
        high = _seconds(until) if until else ""
        sk = Between(_seconds(since), high + LAST)
        return Query(Table.EXECUTIONS, self._pk(account), "by-account", sk, forward=False)

    def executions_of_month(self, month: str) -> Query:
        """Executions that were created in a month (``month_of``), newest first."""
        return Query(Table.EXECUTIONS, self._pk(month), "by-tenant", forward=False)

    # Scan results

    def scan_result(self, account: str, finished: int, execution: str) -> Key:
        """The result of an execution; ``finished`` in microseconds."""
        sk = _join("R", _milliseconds(finished), execution)
        return Key(Table.SCAN_RESULTS, self._pk(account), sk)

    def latest_scan_result(self, account: str) -> Key:
        """The item that repeats an account's newest result."""
        return Key(Table.SCAN_RESULTS, self._pk(account), LATEST)

    def scan_results_of_account(self, account: str) -> Query:
        """Results of an account, newest first."""
        return Query(
            Table.SCAN_RESULTS,
            self._pk(account),
            sk=Prefix("R#"),
            forward=False,
            consistent=True,
        )

    def scan_result_indexes(self, execution: str, part: int, created: int) -> IndexKeys:
        """The places of a result in by-execution and by-tenant; ``created`` in microseconds."""
        execution_index = Table.SCAN_RESULTS.indexes["by-execution"]
        month_index = Table.SCAN_RESULTS.indexes["by-tenant"]
        return {
            execution_index.pk: self._pk(execution),
            execution_index.sk: f"{part:06d}",
            month_index.pk: self._pk(month_of(created)),
            month_index.sk: _join(_milliseconds(created), execution),
        }

    def scan_results_of_execution(self, execution: str) -> Query:
        """Results of an execution by part."""
        return Query(Table.SCAN_RESULTS, self._pk(execution), "by-execution")

    def scan_results_of_month(self, month: str) -> Query:
        """Results of a month (``month_of``), newest first."""
        return Query(Table.SCAN_RESULTS, self._pk(month), "by-tenant", forward=False)

    # All of it, for a tenant that leaves.

    def partitions(self, table: Table) -> tuple[Query, ...]:
        """Give the queries of what a tenant has in a table, whatever it is.

        Of tenants those are the requests that were answered, the service credentials and the
        API keys; executions and results stand in partitions of schedules and accounts.
        """
        own = Query(table, self.tenant, consistent=True)
        if table is Table.TENANTS:
            return (self.requests(), self.service_credentials(), self.api_keys())
        return (own, self.credential_accesses()) if table is Table.ACCOUNTS else (own,)

    def _pk(self, part: str) -> str:
        return _join(self.tenant, part)


def execution_id(key: Key) -> str:
    """Give the id of an execution, which holds its key: base64url of tenant, schedule, sk."""
    tenant, _, schedule = key.pk.partition(SEPARATOR)
    raw = f"{tenant}\n{schedule}\n{key.sk}"
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


__all__ = [
    "LATEST",
    "META",
    "IndexKeys",
    "KeyInvalid",
    "PlatformScope",
    "TenantScope",
    "execution_id",
    "folded",
    "key_of",
    "month_of",
    "shard_of",
    "tenant_of_item",
]
