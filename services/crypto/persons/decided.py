"""What a tenant decided that a call on its values must know, read by one statement.

Each call reads it anew: what was decided, a purpose taken away above all, holds for the next call
of any process. So it goes to the driver as it is; the same through ``ConfigStore`` takes four
times as long.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg

from mesh.errors import DeadlineExceeded, DependencyUnavailable
from mesh.server.call import find_current_call
from mesh.sql.engine import translated
from mesh.sql.postgres import CANCELED, TENANT_SETTING
from mesh.sql.tenancy import tenant_in_charge
from mesh.sql.transactions import Transactions
from services.crypto.persons.fields import Decision, PersonFields, form_of
from services.crypto.suite.header import Tier
from services.crypto.tables import EVERY_TENANT

_SETTING, _PURPOSE = "setting", "purpose"
_DECIDED = f"""
SELECT field_name, tier, field_number, form, padding, possible_values, NULL::text[] AS texts,
    NULL AS kind
    FROM user_fields WHERE tenant_id = %(tenant)s
UNION ALL SELECT config_key, NULL, NULL, NULL, NULL, NULL, ARRAY[tenant_id, config_value],
    '{_SETTING}'
    FROM system_config WHERE tenant_id IN (%(tenant)s, '{EVERY_TENANT}')
UNION ALL SELECT id, NULL, NULL, NULL, NULL, NULL, fields, '{_PURPOSE}'
    FROM purposes WHERE tenant_id = %(tenant)s AND id = %(purpose)s
"""  # noqa: S608 - constants of this package
_SET = "SELECT set_config(%s, %s, true), set_config('statement_timeout', %s, true)"
_NO_LIMIT = "0"


class Decided(NamedTuple):
    """What holds for a tenant as one call begins."""

    fields: PersonFields
    settings: Mapping[str, str]
    """The tenant's own, else those of all."""
    covered: frozenset[str]
    """The fields of the purpose that was asked for; none if the tenant has no such purpose."""


class DecidedStore:
    """Reads decisions of tenants."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def read(self, tenant: str, purpose: str = "") -> Decided:
        """Read what holds now. Raises DependencyUnavailable, DeadlineExceeded."""
        async with self._driver() as driver, driver.transaction():
            await driver.execute(_SET, (TENANT_SETTING, tenant_in_charge(tenant), _limit()))
            asked = {"tenant": tenant, "purpose": purpose}
            rows = await (await driver.execute(_DECIDED, asked)).fetchall()
        fields: list[tuple[Any, ...]] = []
        own: dict[str, str] = {}
        of_all: dict[str, str] = {}
        covered: frozenset[str] = frozenset()
        for name, *columns, texts, kind in rows:
            if kind is None:
                fields.append((name, *columns))
            elif kind == _PURPOSE:
                covered = frozenset(texts)
            else:
                holder, value = texts
                (of_all if holder == EVERY_TENANT else own)[name] = value
        return Decided(_fields(tuple(fields)), {**of_all, **own}, covered)

    @asynccontextmanager
    async def _driver(self) -> "AsyncIterator[psycopg.AsyncConnection[Any]]":
        with translated():
            async with self._transactions.engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                try:
                    yield driver
                except psycopg.Error as error:
                    if driver.broken or driver.closed:
                        await connection.invalidate()
                    if error.sqlstate == CANCELED:
                        problem = "the call took longer than its deadline"
                        raise DeadlineExceeded(problem) from error
                    raise DependencyUnavailable("store") from error


def _limit() -> str:
    """Give the milliseconds that the call has left; no statement outlives its call."""
    call = find_current_call()
    if call is None or not math.isfinite(call.remaining):
        return _NO_LIMIT
    return str(max(1, int(call.remaining * 1000)))


# By what the rows say, so that it cannot be out of date.
@lru_cache(1024)
def _fields(rows: tuple[tuple[Any, ...], ...]) -> PersonFields:
    return PersonFields(
        Decision(name, Tier(tier), number, form_of(form), padding, possible_values)
        for name, tier, number, form, padding, possible_values in rows
    )
