"""How far each import of persons is, kept in the transactions that store them."""

from services.crypto.migrations.roles import READ, WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, protect, run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    run(
        f"""CREATE TABLE user_imports (
    {TENANT_ID},
    id uuid NOT NULL,
    resume_after bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
)""",
        "CREATE TRIGGER update_user_imports_updated_at BEFORE UPDATE ON user_imports "
        "FOR EACH ROW EXECUTE FUNCTION set_updated_at()",
    )
    protect("user_imports")
    grant(("user_imports",), "SELECT", READ, WRITE)
    grant(("user_imports",), "INSERT, UPDATE", WRITE)
