"""Keys, each version wrapped by the one above it, and the states of versions.

The app key's material is kept by its custodian; here is only which versions seal and open.
"""

from services.crypto.migrations.roles import AUDIT, READ, WRITE
from services.crypto.migrations.statements import TENANT_ID, grant, protect, run

revision = "0002"
down_revision = "0001"

_TABLES = ("tenant_keys", "user_keys", "app_keys", "index_keys")
_STATE = """state text COLLATE "C" NOT NULL
        CHECK (state IN ('pending', 'active', 'decrypt_only', 'disabled', 'destroyed'))"""
_MOMENTS = """created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()"""
_WRAPPED = """wrapped bytea,
    CHECK ((wrapped IS NULL) = (state = 'destroyed'))"""
_VERSION = "version integer NOT NULL CHECK (version > 0)"


def upgrade() -> None:
    """Make all of it."""
    run(
        f"""CREATE TABLE tenant_keys (
    {TENANT_ID},
    {_VERSION},
    {_STATE},
    kms_key_id text COLLATE "C" NOT NULL,
    {_MOMENTS},
    {_WRAPPED},
    PRIMARY KEY (tenant_id, version)
)""",
        f"""CREATE TABLE user_keys (
    {TENANT_ID},
    user_id uuid NOT NULL,
    {_VERSION},
    {_STATE},
    tenant_key_version integer NOT NULL,
    {_MOMENTS},
    {_WRAPPED},
    PRIMARY KEY (tenant_id, user_id, version),
    FOREIGN KEY (tenant_id, tenant_key_version) REFERENCES tenant_keys
)""",
        f"""CREATE TABLE app_keys (
    {TENANT_ID},
    {_VERSION},
    {_STATE},
    {_MOMENTS},
    PRIMARY KEY (tenant_id, version)
)""",
        f"""CREATE TABLE index_keys (
    {TENANT_ID},
    field_name text COLLATE "C" NOT NULL,
    used_for text COLLATE "C" NOT NULL CHECK (used_for IN ('index', 'token')),
    {_VERSION},
    {_STATE},
    kms_key_id text COLLATE "C" NOT NULL,
    {_MOMENTS},
    {_WRAPPED},
    PRIMARY KEY (tenant_id, field_name, used_for, version)
)""",
        # Rotations go through the users' keys of one version of the tenant's key in this order.
        "CREATE INDEX idx_user_keys_tenant_key "
        "ON user_keys (tenant_id, tenant_key_version, user_id, version)",
    )
    for table, key in (
        ("tenant_keys", "tenant_id"),
        ("user_keys", "tenant_id, user_id"),
        ("app_keys", "tenant_id"),
        ("index_keys", "tenant_id, field_name, used_for"),
    ):
        # Two processes that make a first version at once make one.
        run(
            f"CREATE UNIQUE INDEX idx_{table}_active ON {table} ({key}) WHERE state = 'active'",
            f"CREATE TRIGGER update_{table}_updated_at BEFORE UPDATE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION set_updated_at()",
        )
    _rights()


def _rights() -> None:
    protect(*_TABLES)
    grant(_TABLES, "SELECT", READ, WRITE)
    grant(_TABLES, "INSERT, UPDATE, DELETE", WRITE)
    shown = "tenant_id, version, state, created_at, updated_at"
    # An auditor sees that keys are there and in which state, and no wrapped one.
    grant(("tenant_keys",), f"SELECT ({shown}, kms_key_id)", AUDIT)
    grant(("user_keys",), f"SELECT ({shown}, user_id, tenant_key_version)", AUDIT)
    grant(("app_keys",), f"SELECT ({shown})", AUDIT)
    grant(("index_keys",), f"SELECT ({shown}, field_name, used_for, kms_key_id)", AUDIT)
