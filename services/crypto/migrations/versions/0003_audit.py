"""The audit: entries by month, the checkpoints over them, segments that ended, honeytokens.

Only the first parts are made here; the checkpointer makes those of later months.
"""

from datetime import UTC, datetime

from services.crypto.audit.parts import months, part_statements
from services.crypto.migrations.roles import APPEND, AUDIT, WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, protect, run

revision = "0003"
down_revision = "0002"

_WHOLE = ("audit_checkpoints", "audit_runs", "audit_tiles", "audit_segments")
_TEXT = 'text COLLATE "C" NOT NULL'


def upgrade() -> None:
    """Make all of it."""
    _entries()
    _checkpoints()
    run(
        f"""CREATE TABLE honeytokens (
    {TENANT_ID},
    subject bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subject)
)""",
        "ALTER TABLE users_change_log ADD COLUMN folded_at timestamptz",
        "CREATE INDEX idx_users_change_log_unfolded ON users_change_log (id) "
        "WHERE folded_at IS NULL",
    )
    _summary()
    protect("encryption_audit", "honeytokens")
    grant(("encryption_audit", "audit_summary", *_WHOLE), "SELECT", AUDIT)
    grant(("honeytokens",), "SELECT, INSERT, DELETE", WRITE)
    # What a writer begins with: the newest checkpoint.
    grant(("audit_checkpoints",), "SELECT", APPEND)
    for month in months(datetime.now(UTC)):
        run(*part_statements(month))


def _entries() -> None:
    run(
        f"""CREATE TABLE encryption_audit (
    writer_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    entry_id uuid NOT NULL,
    accessed_at timestamptz NOT NULL,
    {TENANT_ID},
    subject bytea NOT NULL,
    operation {_TEXT},
    fields text[] NOT NULL,
    tiers smallint[] NOT NULL,
    principal {_TEXT},
    purpose {_TEXT},
    request_id {_TEXT},
    success boolean NOT NULL,
    error_code {_TEXT},
    duration_us bigint NOT NULL,
    retention_class {_TEXT},
    details {_TEXT},
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
) PARTITION BY RANGE (accessed_at)""",
        "CREATE INDEX idx_encryption_audit_user_time "
        "ON encryption_audit (tenant_id, subject, accessed_at)",
        "CREATE INDEX idx_encryption_audit_operation "
        "ON encryption_audit (tenant_id, operation, accessed_at)",
        """CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'entries of the audit are never changed' USING ERRCODE = '42501';
END $body$""",
        "CREATE TRIGGER refuse_audit_change BEFORE UPDATE OR DELETE ON encryption_audit "
        "FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()",
    )


def _checkpoints() -> None:
    run(
        f"""CREATE TABLE audit_checkpoints (
    size bigint PRIMARY KEY,
    note {_TEXT},
    sealed_at timestamptz NOT NULL
)""",
        f"""CREATE TABLE audit_runs (
    first_index bigint PRIMARY KEY,
    writer_id uuid NOT NULL,
    segment {_TEXT},
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    head bytea NOT NULL
)""",
        "CREATE INDEX audit_runs_writer ON audit_runs (writer_id, last_seq)",
        "CREATE INDEX audit_runs_segment ON audit_runs (segment, first_index)",
        """CREATE TABLE audit_tiles (
    level smallint NOT NULL,
    number bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (level, number)
)""",
        f"""CREATE TABLE audit_segments (
    segment {_TEXT} PRIMARY KEY,
    anchor {_TEXT},
    drop_note {_TEXT} DEFAULT ''
)""",
    )


def _summary() -> None:
    run(
        """CREATE VIEW audit_summary WITH (security_invoker = true) AS
SELECT tenant_id, (accessed_at AT TIME ZONE 'UTC')::date AS date, operation,
    count(*) AS total_operations, count(*) FILTER (WHERE success) AS successful_operations,
    count(*) FILTER (WHERE NOT success) AS failed_operations,
    count(DISTINCT subject) AS unique_users, avg(duration_us) / 1000 AS avg_duration_ms
FROM encryption_audit
GROUP BY tenant_id, (accessed_at AT TIME ZONE 'UTC')::date, operation"""
    )
