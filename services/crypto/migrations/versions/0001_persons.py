"""Persons, what is known of their sealed fields, rotations, configuration, the log of changes.

Tables, columns, views and indexes that users of the earlier database know keep their names.
"""

from services.crypto.migrations.roles import AUDIT, READ, WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, protect, run

revision = "0001"
down_revision = None

_SEALED = ("address", "date_of_birth", "ip_address", "ssn", "bank_account", "credit_card")
_PEOPLE = ("users", "user_values", "encryption_metadata")
_DECIDED = ("system_config", "key_rotation_log", "user_fields", "purposes")
_MOMENTS = """
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()"""
_DEFAULTS = {
    "current_app_key_version": ("1", "Version of the application key for new double sealing"),
    "encryption_enabled": ("true", "Whether fields are sealed; false refuses to write them"),
    "audit_retention_days": ("2555", "Days for which the audit log is kept"),
    "max_failed_decryption_attempts": ("5", "Failed decryptions before an alert is raised"),
    "key_rotation_schedule_days": ("90", "Days between scheduled rotations of keys"),
}


def upgrade() -> None:
    """Make all of it, on an empty database."""
    _users()
    _fields()
    _blind_indexes()
    _encryption_metadata()
    _key_rotation_log()
    _system_config()
    _updated_at()
    _users_change_log()
    _views()
    _rights()


def _users() -> None:
    columns = "".join(f"    {name}_encrypted bytea,\n" for name in _SEALED)
    # Whatever writes here: a value that was not sealed first is refused.
    checks = "".join(
        f"    CONSTRAINT users_{name}_is_sealed "
        f"CHECK (substr({name}_encrypted, 1, 2) = '\\x534d'::bytea),\n"
        for name in _SEALED
    )
    run(
        f"""CREATE TABLE users (
    {TENANT_ID},
    id uuid NOT NULL,
    email text COLLATE "C",
    first_name text COLLATE "C",
    last_name text COLLATE "C",
    phone text COLLATE "C",
{columns}    revision bigint NOT NULL DEFAULT 1,{_MOMENTS},
{checks}    PRIMARY KEY (tenant_id, id)
)""",
        "CREATE INDEX idx_users_email ON users (tenant_id, email)",
        "CREATE INDEX idx_users_created_at ON users (tenant_id, created_at)",
    )


def _fields() -> None:
    """Make what a tenant decides about fields, and where values without a column of users lie."""
    run(
        f"""CREATE TABLE user_fields (
    {TENANT_ID},
    field_name text COLLATE "C" NOT NULL,
    tier smallint NOT NULL CHECK (tier BETWEEN 1 AND 3),
    field_number integer CHECK (field_number BETWEEN 32768 AND 65535),
    form smallint NOT NULL DEFAULT 0,
    padding integer NOT NULL DEFAULT 0,
    possible_values bigint NOT NULL DEFAULT 0,{_MOMENTS},
    PRIMARY KEY (tenant_id, field_name)
)""",
        "CREATE UNIQUE INDEX user_fields_number ON user_fields (tenant_id, field_number)",
        f"""CREATE TABLE purposes (
    {TENANT_ID},
    id text COLLATE "C" NOT NULL,
    description text COLLATE "C" NOT NULL DEFAULT '',
    fields text[] NOT NULL,{_MOMENTS},
    PRIMARY KEY (tenant_id, id)
)""",
        f"""CREATE TABLE user_values (
    {TENANT_ID},
    user_id uuid NOT NULL,
    field_name text COLLATE "C" NOT NULL,
    value text COLLATE "C",
    value_encrypted bytea CONSTRAINT user_values_is_sealed
        CHECK (substr(value_encrypted, 1, 2) = '\\x534d'::bytea),{_MOMENTS},
    PRIMARY KEY (tenant_id, user_id, field_name),
    CONSTRAINT user_values_one CHECK ((value IS NULL) <> (value_encrypted IS NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
)""",
    )


def _blind_indexes() -> None:
    run(
        f"""CREATE TABLE blind_indexes (
    {TENANT_ID},
    field_name text COLLATE "C" NOT NULL,
    key_version integer NOT NULL,
    index_value bigint NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, user_id, field_name, key_version),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
)""",
        "CREATE INDEX idx_blind_indexes_value "
        "ON blind_indexes (tenant_id, field_name, key_version, index_value)",
    )


def _encryption_metadata() -> None:
    run(
        f"""CREATE TABLE encryption_metadata (
    {TENANT_ID},
    user_id uuid NOT NULL,
    field_name text COLLATE "C" NOT NULL,
    encryption_level smallint NOT NULL CHECK (encryption_level IN (2, 3)),
    suite smallint NOT NULL,
    kms_key_id text COLLATE "C" NOT NULL,
    key_version integer NOT NULL,
    app_key_version integer,{_MOMENTS},
    CONSTRAINT idx_encryption_metadata_user_field PRIMARY KEY (tenant_id, user_id, field_name),
    CONSTRAINT encryption_metadata_app_key
        CHECK ((encryption_level = 3) = (app_key_version IS NOT NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
)""",
        "CREATE INDEX idx_encryption_metadata_level "
        "ON encryption_metadata (tenant_id, encryption_level, field_name)",
    )


def _key_rotation_log() -> None:
    run(
        f"""CREATE TABLE key_rotation_log (
    {TENANT_ID},
    id uuid NOT NULL,
    key_type text COLLATE "C" NOT NULL
        CHECK (key_type IN ('kms_cmk', 'tenant_kek', 'user_dek', 'app_key')),
    old_version integer,
    new_version integer,
    status text COLLATE "C" NOT NULL DEFAULT 'planned' CHECK (status IN
        ('planned', 'running', 'paused', 'completed', 'failed', 'rolled_back')),
    records_planned bigint,
    records_affected bigint NOT NULL DEFAULT 0,
    rolls_back uuid,
    initiated_by text COLLATE "C" NOT NULL DEFAULT '',
    error text COLLATE "C",
    started_at timestamptz,
    completed_at timestamptz,{_MOMENTS},
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, rolls_back) REFERENCES key_rotation_log
)""",
        "CREATE INDEX idx_key_rotation_log_key_type "
        "ON key_rotation_log (tenant_id, key_type, created_at)",
        "CREATE INDEX idx_key_rotation_log_status ON key_rotation_log (tenant_id, status)",
        "CREATE INDEX idx_key_rotation_log_rolls_back ON key_rotation_log (tenant_id, rolls_back)",
    )


def _system_config() -> None:
    run(
        f"""CREATE TABLE system_config (
    {TENANT_ID},
    config_key text COLLATE "C" NOT NULL,
    config_value text COLLATE "C" NOT NULL,
    description text COLLATE "C" NOT NULL DEFAULT '',
    updated_by text COLLATE "C" NOT NULL DEFAULT '',{_MOMENTS},
    PRIMARY KEY (tenant_id, config_key)
)"""
    )
    # No tenant has this name: what a tenant does not say itself is said here.
    rows = ", ".join(
        f"('-', '{key}', '{value}', '{description}')"
        for key, (value, description) in _DEFAULTS.items()
    )
    run(
        "INSERT INTO system_config (tenant_id, config_key, config_value, description) "  # noqa: S608 - constants of this file
        f"VALUES {rows}"
    )


def _updated_at() -> None:
    run(
        """CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $body$"""
    )
    for table in (*_PEOPLE, *_DECIDED):
        run(
            f"CREATE TRIGGER update_{table}_updated_at BEFORE UPDATE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION set_updated_at()"
        )


def _users_change_log() -> None:
    """Keep who changed which columns when, and no value: the sealer folds it into the audit."""
    run(
        f"""CREATE TABLE users_change_log (
    {TENANT_ID},
    id bigint GENERATED ALWAYS AS IDENTITY,
    user_id uuid NOT NULL,
    operation text COLLATE "C" NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    changed_columns text[] NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    principal text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    session_role text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
)""",
        # As its owner, so that who writes users needs no right to write what is said of it.
        """CREATE FUNCTION log_users_change() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    touched users := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    changed text[] := '{}';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(array_agg(fresh.key ORDER BY fresh.key), '{}') INTO changed
        FROM jsonb_each(to_jsonb(NEW)) AS fresh JOIN jsonb_each(to_jsonb(OLD)) AS stale USING (key)
        WHERE fresh.value IS DISTINCT FROM stale.value
            AND fresh.key NOT IN ('revision', 'updated_at');
    END IF;
    INSERT INTO users_change_log
        (tenant_id, user_id, operation, changed_columns, principal, request_id, session_role)
    VALUES (touched.tenant_id, touched.id, TG_OP, changed,
        coalesce(current_setting('secmesh.actor', true), ''),
        coalesce(current_setting('secmesh.request', true), ''), session_user);
    RETURN NULL;
END $body$""",
        "CREATE TRIGGER log_users_change AFTER INSERT OR UPDATE OR DELETE ON users "
        "FOR EACH ROW EXECUTE FUNCTION log_users_change()",
    )


def _views() -> None:
    # As who asks, so that row-level security holds in them too.
    run(
        """CREATE VIEW encryption_stats WITH (security_invoker = true) AS
SELECT tenant_id, encryption_level, field_name, count(*) AS total_fields,
    count(DISTINCT user_id) AS total_users, min(key_version) AS oldest_key_version,
    max(key_version) AS newest_key_version, min(app_key_version) AS oldest_app_key_version,
    max(app_key_version) AS newest_app_key_version, max(updated_at) AS last_encrypted_at
FROM encryption_metadata GROUP BY tenant_id, encryption_level, field_name""",
        """CREATE VIEW key_rotation_summary WITH (security_invoker = true) AS
SELECT tenant_id, key_type, status, count(*) AS rotations,
    sum(records_affected) AS total_records_affected, max(new_version) AS newest_version,
    min(started_at) AS first_started_at, max(completed_at) AS last_completed_at
FROM key_rotation_log GROUP BY tenant_id, key_type, status""",
    )


def _rights() -> None:
    protect(*_PEOPLE, *_DECIDED, "blind_indexes", "users_change_log")
    run("CREATE POLICY defaults ON system_config FOR SELECT USING (tenant_id = '-')")
    views = ("encryption_stats", "key_rotation_summary")
    grant((*_PEOPLE, *_DECIDED, *views), "SELECT", READ, WRITE)
    grant((*_PEOPLE, *_DECIDED), "INSERT, UPDATE, DELETE", WRITE)
    # Who reads people's rows has no business with what would let values be guessed.
    grant(("blind_indexes",), "SELECT, INSERT, UPDATE, DELETE", WRITE)
    grant((*_DECIDED, "encryption_metadata", "users_change_log", *views), "SELECT", AUDIT)
    grant(("alembic_version",), "SELECT", READ, WRITE, AUDIT)
