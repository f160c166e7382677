"""Erasures of persons: what was ordered and done, its certificate, and who is still to do it."""

from services.crypto.migrations.roles import AUDIT, READ, WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, protect, run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables, and let the log of changes forget who somebody was."""
    _erasures()
    _changes()
    protect("erasures")
    grant(("erasures",), "SELECT", READ, WRITE, AUDIT)
    # Nobody takes one away: it keeps the person from coming back.
    grant(("erasures",), "INSERT, UPDATE", WRITE)
    grant(("erasure_work",), "SELECT, INSERT, UPDATE, DELETE", WRITE)


def _erasures() -> None:
    run(
        f"""CREATE TABLE erasures (
    {TENANT_ID},
    id uuid NOT NULL,
    person bytea NOT NULL CHECK (octet_length(person) = 32),
    subjects bytea[] NOT NULL,
    user_id uuid,
    state text COLLATE "C" NOT NULL DEFAULT 'ordered'
        CHECK (state IN ('ordered', 'erased', 'certified')),
    ordered_by text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    caches_until timestamptz,
    backups_until timestamptz,
    replayed_at timestamptz,
    key_versions integer[] NOT NULL DEFAULT '{{}}',
    fields text[] NOT NULL DEFAULT '{{}}',
    tiers smallint[] NOT NULL DEFAULT '{{}}',
    index_count bigint NOT NULL DEFAULT 0,
    change_count bigint NOT NULL DEFAULT 0,
    certificate text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, id),
    CHECK ((user_id IS NOT NULL) = (state = 'ordered'))
)""",
        # A person is erased once; who comes with the id again is found by it.
        "CREATE UNIQUE INDEX idx_erasures_person ON erasures (tenant_id, person)",
        # Of all tenants: whoever has time takes what is due. It holds nothing of any tenant.
        f"""CREATE TABLE erasure_work (
    {TENANT_ID},
    erasure_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, erasure_id)
)""",
        "CREATE INDEX erasure_work_due ON erasure_work (due_at)",
    )


def _changes() -> None:
    run(
        """ALTER TABLE users_change_log
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN subject bytea,
    ADD CONSTRAINT users_change_log_whose CHECK ((user_id IS NULL) = (subject IS NOT NULL))""",
        "CREATE INDEX idx_users_change_log_user ON users_change_log (tenant_id, user_id)",
        # As the owner: nobody else writes the log. It knows only who is to be erased by an order.
        """CREATE FUNCTION forget_user_changes(erasure uuid) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    ordered erasures;
    forgotten bigint;
BEGIN
    SELECT * INTO STRICT ordered FROM erasures WHERE id = erasure AND state = 'ordered';
    UPDATE users_change_log SET user_id = NULL,
        subject = ordered.subjects[array_upper(ordered.subjects, 1)]
    WHERE tenant_id = ordered.tenant_id AND user_id = ordered.user_id;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $body$""",
        "REVOKE ALL ON FUNCTION forget_user_changes(uuid) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION forget_user_changes(uuid) TO {WRITE}",
    )
