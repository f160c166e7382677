"""Tenants kept apart by PostgreSQL itself: row-level security, and a role that cannot undo it.

Two roles share the work. The owner makes and changes tables and works on the whole store; it
has BYPASSRLS. The application reads and writes rows, those of one tenant in a transaction: the
policy of every table with a tenant compares it with a setting of the transaction. A transaction
without that setting sees no row and writes none.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from mesh.sql.engine import POSTGRESQL
from mesh.sql.migration_definitions import plain_dialect
from mesh.sql.migration_history import HISTORY
from mesh.sql.postgres import TENANT_SETTING
from mesh.sql.references import TENANT
from mesh.sql.settings import ISOLATED

POLICY = "tenant"
"""What the policy of every table is called."""
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""What the application may do with the contract's tables."""
# After a transaction that had one the setting is empty, not absent. The subquery is computed
# once for each statement; a call in its place would be made for each row.
_CONDITION = f"{TENANT} = (SELECT NULLIF(current_setting('{TENANT_SETTING}', true), ''))"
# As PostgreSQL writes it back.
_WRITTEN = (
    f"({TENANT} = ( SELECT NULLIF(current_setting('{TENANT_SETTING}'::text, true), ''::text) "
    'AS "nullif"))'
)
_TABLES = sa.text(
    "SELECT relname, relrowsecurity, relforcerowsecurity, "
    "pg_has_role(relowner, 'MEMBER') AS owned, has_table_privilege(oid, 'TRUNCATE') AS truncated "
    "FROM pg_class WHERE relnamespace = CAST(current_schema() AS regnamespace) "
    "AND relkind IN ('r', 'p')"
)
_POLICIES = sa.text(
    "SELECT relname, polname, polcmd = '*' AND polpermissive AND polroles = '{0}' "
    "AND polwithcheck IS NULL AND pg_get_expr(polqual, polrelid) = :condition AS ours "
    "FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid "
    "WHERE relnamespace = CAST(current_schema() AS regnamespace) ORDER BY polname"
)
_LACKED = sa.text(
    "SELECT relname, privilege FROM pg_class, unnest(CAST(:privileges AS text[])) AS privilege "
    "WHERE relnamespace = CAST(current_schema() AS regnamespace) AND relkind IN ('r', 'p') "
    "AND NOT has_table_privilege(CAST(:role AS name), pg_class.oid, privilege)"
)
_ROLE = sa.text(
    "SELECT rolsuper, rolbypassrls, has_schema_privilege(oid, current_schema(), 'CREATE') "
    "FROM pg_roles WHERE rolname = current_user"
)
_TEMPORARY = sa.text("SELECT has_database_privilege(current_database(), 'TEMPORARY')")
_SEQUENCES = sa.text(
    "SELECT CAST(CAST(objid AS regclass) AS text) FROM pg_depend "
    "JOIN pg_class ON pg_class.oid = objid WHERE relkind = 'S' AND deptype = 'a' "
    "AND refobjid = to_regclass(:table)"
)


@dataclass(frozen=True)
class Difference:
    """One thing that the database lacks of the isolation, or has beyond it."""

    table: str
    words: str
    statement: str


def isolation_differences(
    connection: sa.Connection, metadata: sa.MetaData, role: str | None
) -> Iterator[Difference]:
    """Give what is to be done until tables are isolated and the application's role can use them.

    Tables that do not exist yet are taken as made already, and bare.
    """
    if connection.dialect.name != POSTGRESQL or not metadata.info.get(ISOLATED):
        return
    present = {row.relname: row for row in connection.execute(_TABLES)}
    policies: dict[str, dict[str, bool]] = {}
    for row in connection.execute(_POLICIES, {"condition": _WRITTEN}):
        policies.setdefault(row.relname, {})[row.polname] = row.ours
    for table in metadata.sorted_tables:
        if TENANT in table.c:
            name = _quoted(connection, table.name)
            yield from _policy_differences(connection, table, policies.get(table.name, {}))
            found = present.get(table.name)
            if found is None or not found.relrowsecurity:
                words = f"enable row-level security on {table.name}"
                yield Difference(table.name, words, f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
            if found is None or not found.relforcerowsecurity:
                words = f"force row-level security on {table.name}, its owner included"
                yield Difference(table.name, words, f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    if role is not None:
        yield from _grants(connection, metadata, role, present.keys())


def _policy_differences(
    connection: sa.Connection, table: sa.Table, found: Mapping[str, bool]
) -> Iterator[Difference]:
    """Give what is to be done about policies: one that is not ours would let more through."""
    name = _quoted(connection, table.name)
    for policy, ours in found.items():
        if policy != POLICY or not ours:
            words = f"drop policy {policy} of {table.name}, which is not the contract's"
            statement = f"DROP POLICY {_quoted(connection, policy)} ON {name}"
            yield Difference(table.name, words, statement)
    if not found.get(POLICY, False):
        words = f"show the rows of {table.name} to their tenant alone"
        statement = f"CREATE POLICY {POLICY} ON {name} USING ({_CONDITION})"
        yield Difference(table.name, words, statement)


def _grants(
    connection: sa.Connection, metadata: sa.MetaData, role: str, present: Container[str]
) -> Iterator[Difference]:
    lacked: dict[str, list[str]] = {}
    asked = {"role": role, "privileges": list(PRIVILEGES)}
    for table, privilege in connection.execute(_LACKED, asked):
        lacked.setdefault(table, []).append(privilege)
    for each in metadata.sorted_tables:
        missing = lacked.get(each.name, []) if each.name in present else PRIVILEGES
        if missing:
            listed = ", ".join(missing)
            words = f"let {role} use {each.name} ({listed.lower()})"
            statement = f"GRANT {listed} ON {_quoted(connection, each.name)} TO "
            yield Difference(each.name, words, statement + _quoted(connection, role))


def isolate(connection: sa.Connection, metadata: sa.MetaData, role: str | None) -> None:
    """Protect tables that exist, and let the application's role use them."""
    for each in list(isolation_differences(connection, metadata, role)):
        _run(connection, each.statement)


def admit(connection: sa.Connection, metadata: sa.MetaData, role: str | None) -> None:
    """Let the application's role into the schema: its history, sequences, temporary tables."""
    if connection.dialect.name != POSTGRESQL or not metadata.info.get(ISOLATED) or role is None:
        return
    grantee = _quoted(connection, role)
    schema, database = connection.execute(
        sa.text("SELECT current_schema(), current_database()")
    ).one()
    statements = [
        f"GRANT USAGE ON SCHEMA {_quoted(connection, schema)} TO {grantee}",
        f"GRANT TEMPORARY ON DATABASE {_quoted(connection, database)} TO {grantee}",
    ]
    if sa.inspect(connection).has_table(HISTORY.name):
        statements.append(f"GRANT SELECT ON {HISTORY.name} TO {grantee}")
    for table in metadata.sorted_tables:
        name = _quoted(connection, table.name)
        sequences = connection.execute(_SEQUENCES, {"table": name}).scalars()
        statements += [f"GRANT USAGE ON SEQUENCE {each} TO {grantee}" for each in sequences]
    for statement in statements:
        _run(connection, statement)


def isolation_problem(connection: sa.Connection, metadata: sa.MetaData) -> str:
    """Say why the database would not keep tenants apart from this role; empty if it does.

    A role that row-level security does not bind or that could change tables is as wrong as a
    table that is not protected. Nothing is asked of SQLite.
    """
    if not metadata.info.get(ISOLATED) or connection.dialect.name != POSTGRESQL:
        return ""
    if power := _power(connection, metadata):
        return (
            f"the role of this process {power}, so the database would not keep tenants apart: "
            "serve as a role with rights on rows alone (DATABASE_URL), and keep the owner of the "
            "tables for migrations (DATABASE_MIGRATE_URL)"
        )
    # Rights on a database itself are in no dump of it, so a restored one lacks them.
    if not connection.scalar(_TEMPORARY):
        return "run `migrate --apply` to let this role make temporary tables, for many rows at once"
    first = next(isolation_differences(connection, metadata, None), None)
    return "" if first is None else f"run `migrate` to {first.words}"


def _power(connection: sa.Connection, metadata: sa.MetaData) -> str:
    """Name what the current role may do that an application must not; empty if nothing."""
    role = connection.execute(_ROLE).one()
    for held, words in zip(
        role, ("is a superuser", "has BYPASSRLS", "may create tables"), strict=True
    ):
        if held:
            return words
    for row in connection.execute(_TABLES):
        if row.relname in metadata.tables and (row.owned or row.truncated):
            return f"{'owns' if row.owned else 'may truncate'} the table {row.relname}"
    return ""


def owner_problem(connection: sa.Connection, application: str | None) -> str:
    """Say why the current role cannot change isolated tables for an application's role."""
    superuser, bypasses, _ = connection.execute(_ROLE).one()
    if not superuser and not bypasses:
        return (
            "the role of migrations must see the rows of all tenants; as a superuser: "
            "ALTER ROLE owner BYPASSRLS"
        )
    known = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role")
    if application is None or connection.execute(known, {"role": application}).first():
        return ""
    return f"there is no role {application} to serve as: CREATE ROLE, then migrate again"


def _run(connection: sa.Connection, statement: str) -> None:
    # The driver looks for parameters in it.
    connection.exec_driver_sql(statement.replace("%", "%%"))


def _quoted(connection: sa.Connection, name: str) -> str:
    return plain_dialect(connection.dialect).identifier_preparer.quote(name)
