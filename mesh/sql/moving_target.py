"""Whether a store can be moved, and into which database."""

import sqlalchemy as sa

from mesh.sql.migration_history import HISTORY, contract_digest, read_past
from mesh.sql.moving_ledger import LEDGER
from mesh.sql.schema import Standing, fill, standing_of
from mesh.sql.tables import Tables

_OTHER_CONTRACT = "the target holds tables of another contract: empty it first"


def require_current(source: sa.Connection, tables: Tables) -> str:
    """Tell what is wrong with the tables that are to be moved; empty if nothing is."""
    if standing_of(source, tables) is Standing.CURRENT:
        return ""
    return "the store to be moved is not what the contract says: run `migrate` first"


def require_room(target: sa.Connection, tables: Tables) -> str:
    """Tell why nothing can be moved into a database, which is left as it is; empty if it can.

    It can if the database holds nothing, the empty tables of the contract, or what a move into it
    that has not ended wrote.
    """
    present = set(sa.inspect(target).get_table_names())
    known = {*tables.metadata.tables, HISTORY.name, LEDGER}
    if others := sorted(present - known):
        return f"the target is not empty: it holds {len(others)} other tables ({others[0]}, ...)"
    if LEDGER in present:
        digest = contract_digest(tables.metadata, target.dialect)
        return "" if read_past(target, digest).current else _OTHER_CONTRACT
    standing = standing_of(target, tables)
    if standing is Standing.EMPTY:
        return ""
    if standing is not Standing.CURRENT:
        return _OTHER_CONTRACT
    for table in tables.metadata.sorted_tables:
        if target.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            return f"the target is not empty: {table.name} has rows"
    return ""


def prepare_target(target: sa.Connection, tables: Tables) -> str:
    """Have the empty tables of the contract; tell why that cannot be, as ``require_room``."""
    problem = require_room(target, tables)
    if not problem and LEDGER not in sa.inspect(target).get_table_names():
        fill(target, tables, None)
    return problem
