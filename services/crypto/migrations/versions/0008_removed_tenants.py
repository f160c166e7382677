"""Tenants that were removed: kept by id, so that nothing is sealed for them any more."""

from services.crypto.migrations.roles import AUDIT, READ, WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, protect, run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table, which nobody takes a row away from."""
    run(
        f"""CREATE TABLE removed_tenants (
    {TENANT_ID},
    remove_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
)"""
    )
    protect("removed_tenants")
    grant(("removed_tenants",), "SELECT", READ, WRITE, AUDIT)
    grant(("removed_tenants",), "INSERT", WRITE)
