"""The tables that statements are made from; the versions of ``migrations`` make them.

A test holds both against each other.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TIMESTAMP, UUID

from mesh.sql.removed_tenants import removed_tenants_table
from mesh.sql.settings import ISOLATED, RIGHTS
from secmesh.options.v1 import kind_pb2

METADATA = sa.MetaData()
"""Tables whose rows are shown to their tenant alone."""
METADATA.info[ISOLATED] = True
SHARED = sa.MetaData()
"""Tables with rows for all tenants beside each tenant's own."""
WHOLE = sa.MetaData()
"""Tables that tell of all tenants together and hold nothing of any."""
EVERY_TENANT = "-"
"""Stands in ``tenant_id`` of rows that are for all; no tenant has this name."""

Text = sa.Text(collation="C")
Moment = TIMESTAMP(timezone=True)
Uuid = UUID(as_uuid=True)
Bytes = BYTEA()


def tenant_id() -> "sa.Column[str]":
    """Make the first column of every table."""
    return sa.Column("tenant_id", Text, primary_key=True)


def moments() -> "tuple[sa.Column[object], sa.Column[object]]":
    """Make the columns that tell when a row was made and last changed; the database fills them."""
    return (
        sa.Column("created_at", Moment, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", Moment, nullable=False, server_default=sa.func.now()),
    )


USERS = sa.Table(
    "users",
    METADATA,
    tenant_id(),
    sa.Column("id", Uuid, primary_key=True),
    *(sa.Column(name, Text) for name in ("email", "first_name", "last_name", "phone")),
    *(
        sa.Column(f"{name}_encrypted", Bytes)
        for name in ("address", "date_of_birth", "ip_address", "ssn", "bank_account", "credit_card")
    ),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"),
    *moments(),
)


def _of_user() -> sa.ForeignKeyConstraint:
    columns, referred = ["tenant_id", "user_id"], ["users.tenant_id", "users.id"]
    return sa.ForeignKeyConstraint(columns, referred, ondelete="CASCADE")


USER_VALUES = sa.Table(
    "user_values",
    METADATA,
    tenant_id(),
    sa.Column("user_id", Uuid, primary_key=True),
    sa.Column("field_name", Text, primary_key=True),
    sa.Column("value", Text),
    sa.Column("value_encrypted", Bytes),
    *moments(),
    _of_user(),
)
USER_IMPORTS = sa.Table(
    "user_imports",
    METADATA,
    tenant_id(),
    sa.Column("id", Uuid, primary_key=True),
    sa.Column("resume_after", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("stored", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refused", sa.BigInteger, nullable=False, server_default="0"),
    *moments(),
)
USER_FIELDS = sa.Table(
    "user_fields",
    METADATA,
    tenant_id(),
    sa.Column("field_name", Text, primary_key=True),
    sa.Column("tier", sa.SmallInteger, nullable=False),
    sa.Column("field_number", sa.Integer),
    sa.Column("form", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("padding", sa.Integer, nullable=False, server_default="0"),
    sa.Column("possible_values", sa.BigInteger, nullable=False, server_default="0"),
    *moments(),
)
PURPOSES = sa.Table(
    "purposes",
    METADATA,
    tenant_id(),
    sa.Column("id", Text, primary_key=True),
    sa.Column("description", Text, nullable=False, server_default=""),
    sa.Column("fields", ARRAY(sa.Text), nullable=False),
    *moments(),
)
BLIND_INDEXES = sa.Table(
    "blind_indexes",
    METADATA,
    tenant_id(),
    sa.Column("user_id", Uuid, primary_key=True),
    sa.Column("field_name", Text, primary_key=True),
    sa.Column("key_version", sa.Integer, primary_key=True),
    sa.Column("index_value", sa.BigInteger, nullable=False),
    _of_user(),
)
ENCRYPTION_METADATA = sa.Table(
    "encryption_metadata",
    METADATA,
    tenant_id(),
    sa.Column("user_id", Uuid, primary_key=True),
    sa.Column("field_name", Text, primary_key=True),
    sa.Column("encryption_level", sa.SmallInteger, nullable=False),
    sa.Column("suite", sa.SmallInteger, nullable=False),
    sa.Column("kms_key_id", Text, nullable=False),
    sa.Column("key_version", sa.Integer, nullable=False),
    sa.Column("app_key_version", sa.Integer),
    *moments(),
    _of_user(),
)
KEY_ROTATION_LOG = sa.Table(
    "key_rotation_log",
    METADATA,
    tenant_id(),
    sa.Column("id", Uuid, primary_key=True),
    sa.Column("key_type", Text, nullable=False),
    sa.Column("old_version", sa.Integer),
    sa.Column("new_version", sa.Integer),
    sa.Column("status", Text, nullable=False, server_default="planned"),
    sa.Column("records_planned", sa.BigInteger),
    sa.Column("records_affected", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rolls_back", Uuid),
    sa.Column("initiated_by", Text, nullable=False, server_default=""),
    sa.Column("error", Text),
    sa.Column("started_at", Moment),
    sa.Column("completed_at", Moment),
    *moments(),
    sa.Column("position", Text, nullable=False, server_default=""),
    sa.Column("pass_records", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("records_skipped", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("kms_key_id", Text, nullable=False, server_default=""),
    sa.Column("rollback_until", Moment),
    sa.ForeignKeyConstraint(
        ["tenant_id", "rolls_back"], ["key_rotation_log.tenant_id", "key_rotation_log.id"]
    ),
)
ROTATION_WORK = sa.Table(
    "rotation_work",
    WHOLE,
    tenant_id(),
    sa.Column("rotation_id", Uuid, primary_key=True),
    sa.Column("due_at", Moment, nullable=False, server_default=sa.func.now()),
    sa.Column("holder", Uuid),
)
ROTATION_SCHEDULE = sa.Table(
    "rotation_schedule",
    WHOLE,
    tenant_id(),
    sa.Column("key_type", Text, primary_key=True),
    sa.Column("look_at", Moment, nullable=False, server_default=sa.func.now()),
    sa.Column("rotated_at", Moment),
    sa.Column("notice", sa.Text, nullable=False, server_default=""),
    sa.Column("noticed_at", Moment),
)
USERS_CHANGE_LOG = sa.Table(
    "users_change_log",
    METADATA,
    tenant_id(),
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("user_id", Uuid),
    sa.Column("operation", Text, nullable=False),
    sa.Column("changed_columns", ARRAY(sa.Text), nullable=False),
    sa.Column("changed_at", Moment, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("principal", Text, nullable=False),
    sa.Column("request_id", Text, nullable=False),
    sa.Column("session_role", Text, nullable=False),
    sa.Column("folded_at", Moment),
    # In the place of the user, once that one is erased.
    sa.Column("subject", Bytes),
    # Its trigger alone writes it, as the owner of the tables.
    info={RIGHTS: kind_pb2.RIGHTS_READ},
)
ERASURES = sa.Table(
    "erasures",
    METADATA,
    tenant_id(),
    sa.Column("id", Uuid, primary_key=True),
    sa.Column("person", Bytes, nullable=False),
    sa.Column("subjects", ARRAY(Bytes), nullable=False),
    sa.Column("user_id", Uuid),
    sa.Column("state", Text, nullable=False, server_default="ordered"),
    *(sa.Column(name, Text, nullable=False) for name in ("ordered_by", "request_id")),
    sa.Column("ordered_at", Moment, nullable=False, server_default=sa.func.now()),
    *(
        sa.Column(name, Moment)
        for name in ("erased_at", "caches_until", "backups_until", "replayed_at")
    ),
    sa.Column("key_versions", ARRAY(sa.Integer), nullable=False, server_default="{}"),
    sa.Column("fields", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("tiers", ARRAY(sa.SmallInteger), nullable=False, server_default="{}"),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        for name in ("index_count", "change_count")
    ),
    sa.Column("certificate", Text, nullable=False, server_default=""),
)
REMOVED_TENANTS = removed_tenants_table(METADATA)
# A removal is the service's own work; nobody takes one back.
REMOVED_TENANTS.info[RIGHTS] = kind_pb2.RIGHTS_APPEND
ERASURE_WORK = sa.Table(
    "erasure_work",
    WHOLE,
    tenant_id(),
    sa.Column("erasure_id", Uuid, primary_key=True),
    sa.Column("due_at", Moment, nullable=False),
)
SYSTEM_CONFIG = sa.Table(
    "system_config",
    SHARED,
    tenant_id(),
    sa.Column("config_key", Text, primary_key=True),
    sa.Column("config_value", Text, nullable=False),
    sa.Column("description", Text, nullable=False, server_default=""),
    sa.Column("updated_by", Text, nullable=False, server_default=""),
    *moments(),
)
ENCRYPTION_AUDIT = sa.Table(
    "encryption_audit",
    METADATA,
    sa.Column("writer_id", Uuid, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("entry_id", Uuid, nullable=False),
    sa.Column("accessed_at", Moment, nullable=False),
    sa.Column("tenant_id", Text, nullable=False),
    sa.Column("subject", Bytes, nullable=False),
    sa.Column("operation", Text, nullable=False),
    sa.Column("fields", ARRAY(sa.Text), nullable=False),
    sa.Column("tiers", ARRAY(sa.SmallInteger), nullable=False),
    *(sa.Column(name, Text, nullable=False) for name in ("principal", "purpose", "request_id")),
    sa.Column("success", sa.Boolean, nullable=False),
    sa.Column("error_code", Text, nullable=False),
    sa.Column("duration_us", sa.BigInteger, nullable=False),
    *(sa.Column(name, Text, nullable=False) for name in ("retention_class", "details")),
    sa.Column("hash", Bytes, nullable=False),
    # Entries are written into its parts, by a role that can do nothing else.
    info={RIGHTS: kind_pb2.RIGHTS_READ},
)
"""Columns in the order of ``audit.entry.Entry``, then its hash."""
AUDIT_CHECKPOINTS = sa.Table(
    "audit_checkpoints",
    WHOLE,
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("note", Text, nullable=False),
    sa.Column("sealed_at", Moment, nullable=False),
)
AUDIT_RUNS = sa.Table(
    "audit_runs",
    WHOLE,
    sa.Column("first_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("writer_id", Uuid, nullable=False),
    sa.Column("segment", Text, nullable=False),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("head", Bytes, nullable=False),
)
AUDIT_TILES = sa.Table(
    "audit_tiles",
    WHOLE,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", Bytes, nullable=False),
)
AUDIT_SEGMENTS = sa.Table(
    "audit_segments",
    WHOLE,
    sa.Column("segment", Text, primary_key=True),
    sa.Column("anchor", Text, nullable=False),
    sa.Column("drop_note", Text, nullable=False, server_default=""),
)
HONEYTOKENS = sa.Table(
    "honeytokens",
    METADATA,
    tenant_id(),
    sa.Column("subject", Bytes, primary_key=True),
    sa.Column("created_at", Moment, nullable=False, server_default=sa.func.now()),
)


def _version() -> "sa.Column[int]":
    return sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)


def _state() -> "sa.Column[str]":
    return sa.Column("state", Text, nullable=False)


def _state_before() -> "sa.Column[str]":
    return sa.Column("state_before", Text)


TENANT_KEYS = sa.Table(
    "tenant_keys",
    METADATA,
    tenant_id(),
    _version(),
    _state(),
    sa.Column("kms_key_id", Text, nullable=False),
    sa.Column("wrapped", Bytes),
    *moments(),
    sa.Column("previous_wrapped", Bytes),
    sa.Column("previous_kms_key_id", Text),
    _state_before(),
)
USER_KEYS = sa.Table(
    "user_keys",
    METADATA,
    tenant_id(),
    sa.Column("user_id", Uuid, primary_key=True),
    _version(),
    _state(),
    sa.Column("tenant_key_version", sa.Integer, nullable=False),
    sa.Column("wrapped", Bytes),
    *moments(),
    sa.Column("rotation_id", Uuid),
    _state_before(),
    sa.ForeignKeyConstraint(
        ["tenant_id", "tenant_key_version"], ["tenant_keys.tenant_id", "tenant_keys.version"]
    ),
)
APP_KEYS = sa.Table(
    "app_keys",
    METADATA,
    tenant_id(),
    _version(),
    _state(),
    *moments(),
    _state_before(),
)
INDEX_KEYS = sa.Table(
    "index_keys",
    METADATA,
    tenant_id(),
    sa.Column("field_name", Text, primary_key=True),
    sa.Column("used_for", Text, primary_key=True),
    _version(),
    _state(),
    sa.Column("kms_key_id", Text, nullable=False),
    sa.Column("wrapped", Bytes),
    *moments(),
    sa.Column("previous_wrapped", Bytes),
    sa.Column("previous_kms_key_id", Text),
)
