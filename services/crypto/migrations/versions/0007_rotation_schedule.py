"""When each key is looked at by the schedule of rotations; what it was before it was disabled."""

from services.crypto.migrations.roles import WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, run

revision = "0007"
down_revision = "0006"

_KEYS = "ARRAY['kms_cmk', 'tenant_kek', 'user_dek', 'app_key']"


def upgrade() -> None:
    """Make the table, and what adds tenants to it."""
    run(
        # Of all tenants: whoever has time looks at what is due. It holds nothing of any tenant.
        f"""CREATE TABLE rotation_schedule (
    {TENANT_ID},
    key_type text COLLATE "C" NOT NULL,
    look_at timestamptz NOT NULL DEFAULT now(),
    rotated_at timestamptz,
    notice text NOT NULL DEFAULT '',
    noticed_at timestamptz,
    PRIMARY KEY (tenant_id, key_type)
)""",
        "CREATE INDEX rotation_schedule_look ON rotation_schedule (look_at)",
        f"""CREATE FUNCTION schedule_rotations() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO rotation_schedule (tenant_id, key_type)
    SELECT NEW.tenant_id, unnest({_KEYS}) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $body$""",
        # A tenant has keys from its first sealed value on, by whatever way that is written.
        "CREATE TRIGGER schedule_rotations AFTER INSERT ON tenant_keys "
        "FOR EACH ROW EXECUTE FUNCTION schedule_rotations()",
        "INSERT INTO rotation_schedule (tenant_id, key_type) "  # noqa: S608 - a constant of this file
        f"SELECT DISTINCT tenant_id, unnest({_KEYS}) FROM tenant_keys",
    )
    run(
        *(
            f'ALTER TABLE {table} ADD COLUMN state_before text COLLATE "C"'
            for table in ("tenant_keys", "user_keys", "app_keys")
        )
    )
    grant(("rotation_schedule",), "SELECT, INSERT, UPDATE, DELETE", WRITE)
