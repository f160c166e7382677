"""Rotations of keys: how far each is, who works on it, and when it is looked at again."""

from services.crypto.migrations.roles import WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make columns and the table of work."""
    run(
        """ALTER TABLE key_rotation_log
    ADD COLUMN position text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN pass_records bigint NOT NULL DEFAULT 0,
    ADD COLUMN records_skipped bigint NOT NULL DEFAULT 0,
    ADD COLUMN kms_key_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN rollback_until timestamptz""",
        # What another KMS key wrapped before, until that cannot be rolled back any more.
        *(
            f"ALTER TABLE {table} ADD COLUMN previous_wrapped bytea, "
            'ADD COLUMN previous_kms_key_id text COLLATE "C"'
            for table in ("tenant_keys", "index_keys")
        ),
        # Which rotation made a version: what it is rolled back by.
        "ALTER TABLE user_keys ADD COLUMN rotation_id uuid",
        # Two rotations of one key at once would undo each other.
        "CREATE UNIQUE INDEX idx_key_rotation_log_running "
        "ON key_rotation_log (tenant_id, key_type) WHERE status = 'running'",
        # Of all tenants: whoever has time takes what is due. It holds nothing of any tenant.
        f"""CREATE TABLE rotation_work (
    {TENANT_ID},
    rotation_id uuid NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    holder uuid,
    PRIMARY KEY (tenant_id, rotation_id)
)""",
        "CREATE INDEX rotation_work_due ON rotation_work (due_at)",
    )
    grant(("rotation_work",), "SELECT, INSERT, UPDATE, DELETE", WRITE)
