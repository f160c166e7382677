"""The statements of the checks alone: no field unread, no evidence, nothing stored."""

from datetime import datetime

import sqlalchemy as sa

from benchmarks.estate.filling import TENANT
from mesh.cel.sql import TableColumns
from mesh.sql.store import Store
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue

PASSED, FAILED, OUT_OF_SCOPE, UNKNOWN = range(4)


Counts = sa.Select[tuple[object, ...]]


def statements(store: Store, checks: CheckCatalogue, now: datetime) -> list[Counts]:
    """Write for each check the statement that counts its outcomes by account and region."""
    return [_counts(store, check, now) for check in checks.checks.values()]


def _counts(store: Store, check: BoundCheck, now: datetime) -> Counts:
    target = store.target(check.kind.collection)
    table, columns = target.table, TableColumns(target.table, check.kind, store.dialect)
    values = check.parameters(check.defaults(), now)
    met = check.condition.to_sql(columns, values, store.dialect)
    outcome = sa.case({True: PASSED, False: FAILED}, value=met, else_=UNKNOWN)
    if check.applies:
        applies = check.applies.to_sql(columns, values, store.dialect)
        outcome = sa.case((applies, outcome), else_=OUT_OF_SCOPE)
    chosen = sa.select(table.c.cloud_account_id, table.c.region, outcome.label("outcome"))
    rows = chosen.where(table.c.tenant_id == TENANT, table.c.valid_to.is_(None)).subquery()
    return sa.select(*rows.c, sa.func.count()).group_by(*rows.c)
