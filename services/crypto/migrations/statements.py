"""What every version says of its tables: whose rows are shown, and who may do what."""

from collections.abc import Iterable

from alembic import op

TENANT_ID = 'tenant_id text COLLATE "C" NOT NULL'
"""The first column of every table."""
# Computed once for each statement; a call in its place would be made for each row.
_OF_TENANT = "tenant_id = (SELECT NULLIF(current_setting('secmesh.tenant', true), ''))"


def run(*statements: str) -> None:
    """Run statements as they stand, without parameters in them."""
    for each in statements:
        # A colon would begin a parameter.
        op.execute(each.replace(":", r"\:"))


def protect(*tables: str) -> None:
    """Show the rows of tables to their tenant alone, their owner included."""
    for table in tables:
        run(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY tenant ON {table} USING ({_OF_TENANT})",
        )


def grant(tables: Iterable[str], rights: str, *roles: str) -> None:
    """Let roles (``roles.py``) use tables or views, such as ``SELECT, INSERT``."""
    run(f"GRANT {rights} ON {', '.join(tables)} TO {', '.join(roles)}")
