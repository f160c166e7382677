"""The database of the crypto service: its versions, whose rows are shown, what it writes down."""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.rows import dict_row

from mesh.embedded.postgres import APPLICATION, OWNER, SUPERUSER, Access
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from mesh.sql.postgres import catalogue_json
from mesh.sql.schema import MigrationRefused
from services.crypto.audit.parts import PREFIX
from services.crypto.installation_store import checks
from services.crypto.migrations import roles, standing
from services.crypto.migrations.commands import VersionedSchema
from services.crypto.migrations.roles import APPEND, AUDIT, READ, ROLES, WRITE
from services.crypto.tables import METADATA, SHARED, WHOLE
from tests.databases import crypto_database, empty_crypto_database, open_sync_engine

VERSIONS = [16, 18]
_SEALED = b"SM" + bytes(86)
_LISTED = "SELECT trigger_name, event_manipulation, event_object_table " + (
    "FROM information_schema.triggers WHERE trigger_schema = 'public'"
)
_INDEXES = {
    "idx_users_email",
    "idx_users_created_at",
    "idx_encryption_metadata_user_field",
    "idx_encryption_metadata_level",
    "idx_key_rotation_log_key_type",
    "idx_key_rotation_log_status",
    "idx_encryption_audit_user_time",
    "idx_encryption_audit_operation",
}
_CONFIGURATION = {
    "current_app_key_version": "1",
    "encryption_enabled": "true",
    "audit_retention_days": "2555",
    "max_failed_decryption_attempts": "5",
    "key_rotation_schedule_days": "90",
}


@pytest.fixture(scope="module", params=VERSIONS)
def access(request: pytest.FixtureRequest) -> Iterator[Access]:
    with crypto_database(request.param) as made:
        yield made


@contextmanager
def connected(
    url: str, *, tenant: str = "", role: str = ""
) -> "Iterator[psycopg.Connection[dict[str, Any]]]":
    """Ask a database as a program of its own does, for a tenant; what it does is undone."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SELECT set_config('secmesh.tenant', %s, true)", (tenant,))
        if role:
            connection.execute(f"SET LOCAL ROLE {role}")  # one of this file's
        yield connection
        connection.rollback()


def superuser(access: Access) -> str:
    """Give the URL for who may take any role."""
    return access.owner.replace(f"{OWNER}@", f"{SUPERUSER}@")


def insert_user(connection: "psycopg.Connection[dict[str, Any]]", tenant: str = "acme") -> str:
    user = new_uuid()
    connection.execute(
        "INSERT INTO users (tenant_id, id, email, ssn_encrypted) VALUES (%s, %s, %s, %s)",
        (tenant, user, "ann@example.com", _SEALED),
    )
    return user


def test_tables_triggers_views_and_indexes_have_their_names(access: Access) -> None:
    with connected(access.application) as connection:
        triggers = {
            (row["trigger_name"], row["event_manipulation"], row["event_object_table"])
            for row in connection.execute(_LISTED)
        }
        query = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
        indexes = {row["indexname"] for row in connection.execute(query)}
        views = connection.execute(
            "SELECT viewname FROM pg_views WHERE schemaname = 'public'"
        ).fetchall()
        sizes = connection.execute(
            "SELECT schemaname, tablename, pg_size_pretty(pg_total_relation_size("
            "schemaname||'.'||tablename)) AS size FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert {("log_users_change", event, "users") for event in ("INSERT", "UPDATE", "DELETE")} <= (
        triggers
    )
    assert ("update_users_updated_at", "UPDATE", "users") in triggers
    assert indexes >= _INDEXES
    assert {row["viewname"] for row in views} >= {
        "encryption_stats",
        "key_rotation_summary",
        "audit_summary",
    }
    assert {row["tablename"] for row in sizes} >= {*METADATA.tables, *SHARED.tables}


def test_configuration_of_all_tenants_is_read_by_each_and_written_by_none(access: Access) -> None:
    with connected(access.application, tenant="acme") as connection:
        rows = connection.execute("SELECT * FROM system_config").fetchall()
        assert {row["config_key"]: row["config_value"] for row in rows} == _CONFIGURATION
        changed = connection.execute("UPDATE system_config SET config_value = '0'").rowcount
        assert changed == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO system_config VALUES ('-', 'own', 'x')")


def test_rows_are_those_of_the_tenant_in_charge(access: Access) -> None:
    with connected(access.application, tenant="acme") as connection:
        insert_user(connection)
        shown = connection.execute("SELECT tenant_id FROM users").fetchall()
        assert {row["tenant_id"] for row in shown} == {"acme"}
        for other in ("beta", ""):
            connection.execute("SELECT set_config('secmesh.tenant', %s, true)", (other,))
            assert connection.execute("SELECT * FROM users").fetchall() == []
            assert connection.execute("SELECT * FROM encryption_stats").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            insert_user(connection)


def test_a_value_that_was_not_sealed_is_refused(access: Access) -> None:
    with connected(access.application, tenant="acme") as connection:
        user = insert_user(connection)
        with pytest.raises(psycopg.errors.CheckViolation) as error:
            connection.execute(
                "UPDATE users SET ssn_encrypted = %s WHERE id = %s", (b"078-05-1120", user)
            )
        assert error.value.diag.constraint_name == "users_ssn_is_sealed"


def test_each_change_of_a_user_is_logged_without_values(access: Access) -> None:
    with connected(superuser(access), tenant="acme") as connection:
        connection.execute("SELECT set_config('secmesh.actor', 'ann', true)")
        connection.execute(f"SET LOCAL ROLE {APPLICATION}")
        user = insert_user(connection)
        connection.execute("UPDATE users SET phone = '+4930123', revision = 2")
        connection.execute("DELETE FROM users")
        connection.execute("RESET ROLE")
        rows = connection.execute(
            "SELECT * FROM users_change_log WHERE user_id = %s ORDER BY id", (user,)
        ).fetchall()
    assert [row["operation"] for row in rows] == ["INSERT", "UPDATE", "DELETE"]
    assert [row["changed_columns"] for row in rows] == [[], ["phone"], []]
    assert {row["principal"] for row in rows} == {"ann"}
    assert "+4930123" not in str(rows)


def test_the_log_forgets_nobody_whose_erasure_is_not_ordered(access: Access) -> None:
    with connected(access.application, tenant="acme") as connection:
        user, erasure = insert_user(connection), new_uuid()
        ordered = "INSERT INTO erasures (tenant_id, id, person, subjects, user_id, ordered_by, "
        ordered += "request_id) VALUES ('acme', %s, %s, ARRAY[%s], %s, '', '')"
        connection.execute(ordered, (erasure, bytes(32), b"pseudonym", user))
        count = "SELECT forget_user_changes(%s) AS forgotten"
        assert connection.execute(count, (erasure,)).fetchall() == [{"forgotten": 1}]
        rows = connection.execute("SELECT user_id, subject FROM users_change_log").fetchall()
        assert {"user_id": None, "subject": b"pseudonym"} in rows
        done = "UPDATE erasures SET state = 'erased', user_id = NULL WHERE id = %s"
        connection.execute(done, (erasure,))
        with pytest.raises(psycopg.errors.NoDataFound):
            connection.execute(count, (erasure,))


def test_updates_set_the_moment_of_a_row(access: Access) -> None:
    with connected(access.application, tenant="acme") as connection:
        user = insert_user(connection)
        connection.execute("UPDATE users SET updated_at = '2001-01-01', created_at = '2001-01-01'")
        row = connection.execute("SELECT * FROM users WHERE id = %s", (user,)).fetchone()
    assert row is not None
    assert row["updated_at"].year > row["created_at"].year == 2001


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (READ, "INSERT INTO users (tenant_id, id) VALUES ('acme', gen_random_uuid())"),
        (READ, "SELECT * FROM users_change_log"),
        (WRITE, "INSERT INTO users_change_log (tenant_id) VALUES ('acme')"),
        (WRITE, "TRUNCATE users CASCADE"),
        (AUDIT, "SELECT email FROM users"),
        (AUDIT, "DELETE FROM users_change_log"),
        (AUDIT, "DELETE FROM encryption_audit"),
        (READ, "SELECT * FROM encryption_audit"),
        (READ, "SELECT forget_user_changes(gen_random_uuid())"),
        (WRITE, "DELETE FROM erasures"),
        (AUDIT, "UPDATE erasures SET certificate = ''"),
        (APPEND, "SELECT * FROM encryption_audit"),
        (APPEND, "INSERT INTO audit_checkpoints VALUES (1, '', now())"),
        (APPLICATION, "CREATE TABLE own (id int)"),
        (APPLICATION, "DELETE FROM alembic_version"),
    ],
)
def test_roles_have_no_rights_beyond_their_work(access: Access, role: str, statement: str) -> None:
    with (
        connected(superuser(access), tenant="acme", role=role) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (READ, "SELECT * FROM users"),
        (WRITE, "DELETE FROM users"),
        (AUDIT, "SELECT * FROM users_change_log"),
        (AUDIT, "SELECT * FROM key_rotation_summary"),
        (AUDIT, "SELECT * FROM audit_summary"),
        (APPEND, "SELECT * FROM audit_checkpoints"),
    ],
)
def test_roles_may_do_their_work(access: Access, role: str, statement: str) -> None:
    with connected(superuser(access), tenant="acme", role=role) as connection:
        assert connection.execute(statement) is not None


def test_statements_are_made_from_the_tables_that_the_versions_make(access: Access) -> None:
    engine = open_sync_engine(access.owner)
    known = sa.MetaData()
    for table in (*METADATA.tables.values(), *SHARED.tables.values(), *WHOLE.tables.values()):
        table.to_metadata(known)
    with engine.connect() as connection, catalogue_json(connection):
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                # Indexes stand in the versions alone: no statement is made from them.
                "include_object": lambda _object, name, kind, *_: (
                    kind != "index"
                    and name != standing.VERSION_TABLE
                    and not str(name).startswith(PREFIX)
                ),
            },
        )
        assert compare_metadata(context, known) == []
    engine.dispose()


def test_the_newest_version_is_that_of_alembic() -> None:
    folder = Path(standing.__file__).parent
    assert standing.head() == ScriptDirectory(str(folder)).get_current_head()


@pytest.mark.parametrize(
    "statement",
    [
        # As users of the earlier database ask them.
        "SELECT * FROM system_config",
        "SELECT DATE(accessed_at) as date, operation, COUNT(*) as count FROM encryption_audit "
        "WHERE accessed_at >= NOW() - INTERVAL '7 days' "
        "GROUP BY DATE(accessed_at), operation ORDER BY date DESC",
        "SELECT * FROM encryption_audit WHERE success = FALSE "
        "AND accessed_at >= NOW() - INTERVAL '24 hours'",
        "SELECT * FROM key_rotation_summary",
        "SELECT * FROM encryption_stats",
        "SELECT * FROM audit_summary",
        "SELECT * FROM pg_stat_activity",
        "SELECT schemaname, relname, indexrelname, idx_scan, idx_tup_read, idx_tup_fetch "
        "FROM pg_stat_user_indexes",
    ],
)
def test_what_auditors_asked_of_the_earlier_database_is_answered(
    access: Access, statement: str
) -> None:
    with connected(superuser(access), tenant="acme", role=AUDIT) as connection:
        columns = connection.execute(statement).description
    assert columns


async def test_processes_that_start_at_once_make_the_tables_once() -> None:
    with empty_crypto_database() as access:
        engines = [(open_engine(access.application), open_engine(access.owner)) for _ in range(3)]
        await asyncio.gather(*(VersionedSchema().require(*each) for each in engines))
        with connected(access.owner) as connection:
            assert len(connection.execute("SELECT * FROM system_config").fetchall()) == 5
        for engine in (engine for pair in engines for engine in pair):
            await engine.dispose()


async def test_a_database_of_another_version_is_not_served() -> None:
    with empty_crypto_database() as access:
        application, owner = open_engine(access.application), open_engine(access.owner)
        schema = VersionedSchema()
        with pytest.raises(MigrationRefused, match="run `migrate`"):
            await schema.require(application, None)
        planned = await schema.run(owner, APPLICATION, argparse.Namespace(plan=True, output="text"))
        assert "CREATE TABLE users" in planned
        with pytest.raises(MigrationRefused):
            await schema.require(application, None)
        made = await schema.run(owner, APPLICATION, argparse.Namespace(plan=False, output="json"))
        assert '"revision": "0001"' in made
        await schema.require(application, None)
        async with owner.begin() as connection:
            await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(MigrationRefused, match="newer than the program"):
            await schema.run(owner, APPLICATION, argparse.Namespace(plan=False, output="text"))
        with pytest.raises(MigrationRefused, match="9999"):
            await schema.require(application, owner)
        await application.dispose()
        await owner.dispose()


async def test_a_check_names_what_is_missing(access: Access) -> None:
    application = open_engine(access.application)
    async with application.connect() as connection:
        found = await connection.run_sync(lambda sync: list(checks(sync)))
    assert [each.name for each in found if each.problem] == []
    await application.dispose()
    with empty_crypto_database() as empty:
        application = open_engine(empty.application)
        async with application.connect() as connection:
            found = await connection.run_sync(lambda sync: list(checks(sync)))
        problems = {each.name: each.problem for each in found}
        assert "users" in problems["tables"]
        assert "encryption_enabled" in problems["configuration"]
        assert "log_users_change (DELETE)" in problems["triggers"]
        assert "idx_users_email" in problems["indexes"]
        await application.dispose()


async def test_a_database_without_row_level_security_is_not_served() -> None:
    with crypto_database() as access:
        application, owner = open_engine(access.application), open_engine(access.owner)
        await VersionedSchema().require(application, owner)
        async with owner.begin() as connection:
            await connection.execute(sa.text("ALTER TABLE users DISABLE ROW LEVEL SECURITY"))
        with pytest.raises(MigrationRefused, match="row-level security on users"):
            await VersionedSchema().require(application, owner)
        with pytest.raises(MigrationRefused, match=f"{OWNER} may not write"):
            await VersionedSchema().require(owner, None)
        await application.dispose()
        await owner.dispose()


async def test_missing_roles_are_named_with_the_statements_that_make_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply = argparse.Namespace(plan=False, output="text")
    with empty_crypto_database() as access:
        owner = open_engine(access.owner)
        # The owner itself was never let join.
        with pytest.raises(MigrationRefused, match=f"GRANT {WRITE} TO {OWNER}"):
            await VersionedSchema().run(owner, OWNER, apply)
        monkeypatch.setattr(roles, "ROLES", (*ROLES, "pii_absent"))
        with pytest.raises(MigrationRefused, match="CREATE ROLE pii_absent NOLOGIN"):
            await VersionedSchema().run(owner, APPLICATION, apply)
        await owner.dispose()
