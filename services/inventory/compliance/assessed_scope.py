"""Which assessments can be compared: those of one plan, and of the same accounts."""

from collections.abc import Iterable

import sqlalchemy as sa

from mesh.sql.tables import KindTable
from secmesh.inventory.v1 import assessment_pb2 as pb

_ASKED, _FOUND = "scope_account_ids", "cloud_account_ids"


def of_accounts(
    target: KindTable, ssp: str, asked: Iterable[str], found: Iterable[str]
) -> sa.ColumnElement[bool]:
    """Write the condition that an assessment is of a plan and looked at the same accounts.

    They were asked for alike, or are the same though one named them and the other took all.
    """
    same = sa.or_(_equal(target, _ASKED, asked), _equal(target, _FOUND, found))
    return sa.and_(target.table.c.ssp == ssp, same)


def _equal(target: KindTable, name: str, accounts: Iterable[str]) -> sa.ColumnElement[bool]:
    column, stored = target.codec.writer(pb.Assessment.DESCRIPTOR.fields_by_name[name])
    value = sorted(accounts)
    # Compared as it is stored: a list is JSON in every database.
    equal: sa.ColumnElement[bool] = target.table.c[column] == (
        stored(value) if stored is not None else value
    )
    return equal
