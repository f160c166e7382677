"""Which assessments are of one scope: of one plan, and asked for the same accounts."""

from collections.abc import Iterable

import sqlalchemy as sa

from mesh.sql.tables import KindTable
from secmesh.inventory.v1 import assessment_pb2 as pb

_ACCOUNTS = pb.Assessment.DESCRIPTOR.fields_by_name["scope_account_ids"]


def of_scope(target: KindTable, ssp: str, accounts: Iterable[str]) -> sa.ColumnElement[bool]:
    """Write the condition that an assessment is of a plan and of the accounts asked for."""
    column, stored = target.codec.writer(_ACCOUNTS)
    asked = sorted(accounts)
    columns = target.table.c
    # Compared as it is stored: a list is JSON in every database.
    return sa.and_(
        columns.ssp == ssp, columns[column] == (stored(asked) if stored is not None else asked)
    )
