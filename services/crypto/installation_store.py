"""Whether a database has all that the service stands on, item by item, as its operator asks."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from mesh.sql.isolation import isolation_problem
from services.crypto.migrations.standing import serving_problem
from services.crypto.tables import EVERY_TENANT, METADATA, SHARED, SYSTEM_CONFIG, WHOLE

INDEXES = frozenset(
    {
        "idx_users_email",
        "idx_users_created_at",
        "idx_encryption_metadata_user_field",
        "idx_encryption_metadata_level",
        "idx_encryption_audit_user_time",
        "idx_encryption_audit_operation",
        "idx_key_rotation_log_key_type",
        "idx_key_rotation_log_status",
    }
)
VIEWS = frozenset({"encryption_stats", "audit_summary", "key_rotation_summary"})
TRIGGERS = frozenset(
    {
        *(("log_users_change", event) for event in ("INSERT", "UPDATE", "DELETE")),
        ("update_users_updated_at", "UPDATE"),
        ("update_encryption_metadata_updated_at", "UPDATE"),
        ("update_system_config_updated_at", "UPDATE"),
        ("schedule_rotations", "INSERT"),
    }
)
SETTINGS = frozenset(
    {
        "current_app_key_version",
        "encryption_enabled",
        "audit_retention_days",
        "max_failed_decryption_attempts",
        "key_rotation_schedule_days",
    }
)
# The catalogue of privileges hides triggers from who may not use them all: this one shows them.
_TRIGGERS = sa.text(
    "SELECT tgname, CASE WHEN tgtype & 4 > 0 THEN 'INSERT' END, "
    "CASE WHEN tgtype & 8 > 0 THEN 'DELETE' END, CASE WHEN tgtype & 16 > 0 THEN 'UPDATE' END "
    "FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal "
    "AND tgenabled = 'O' AND relnamespace = CAST(current_schema() AS regnamespace)"
)
_INDEXES = sa.text("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")
_TABLES = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
_VIEWS = sa.text("SELECT viewname FROM pg_views WHERE schemaname = current_schema()")
_EXTENSIONS = sa.text("SELECT extname FROM pg_extension ORDER BY extname")
_ENCRYPTED = sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
_IS_NEAR = sa.text("SELECT inet_client_addr() IS NULL OR inet_client_addr() <<= '127.0.0.0/8'")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    problem: str
    """Empty if all is well."""
    found: str
    """What is there."""


def checks(connection: sa.Connection) -> Iterator[Check]:
    """Look at everything, as the role that serves."""
    problem = serving_problem(connection) or isolation_problem(connection, METADATA)
    yield Check("version, roles and row-level security", problem, "" if problem else "as needed")
    wanted = {*METADATA.tables, *SHARED.tables, *WHOLE.tables}
    tables = set(connection.execute(_TABLES).scalars())
    yield _compared("tables", wanted, tables)
    yield _compared("indexes", INDEXES, set(connection.execute(_INDEXES).scalars()))
    yield _compared("views", VIEWS, set(connection.execute(_VIEWS).scalars()))
    triggers = {
        (name, event) for name, *events in connection.execute(_TRIGGERS) for event in events
    }
    named = {f"{name} ({event})" for name, event in triggers if event}
    yield _compared("triggers", {f"{name} ({event})" for name, event in TRIGGERS}, named)
    settings = _settings(connection) if SYSTEM_CONFIG.name in tables else set()
    yield _compared("configuration", SETTINGS, settings)
    extensions = ", ".join(connection.execute(_EXTENSIONS).scalars())
    yield Check("extensions", "", f"none is needed; there are {extensions}")
    near, encrypted = connection.scalar(_IS_NEAR), connection.scalar(_ENCRYPTED)
    far = "" if near or encrypted else "the connection is not encrypted"
    yield Check("connection", far, "encrypted" if encrypted else "on this machine" if near else "")


def _settings(connection: sa.Connection) -> set[str]:
    keys = sa.select(SYSTEM_CONFIG.c.config_key)
    return set(connection.scalars(keys.where(SYSTEM_CONFIG.c.tenant_id == EVERY_TENANT)))


def _compared(name: str, wanted: "set[str] | frozenset[str]", found: set[str]) -> Check:
    missing = sorted(wanted - found)
    problem = f"missing: {', '.join(missing)}" if missing else ""
    return Check(name, problem, f"{len(wanted) - len(missing)} of {len(wanted)}")
