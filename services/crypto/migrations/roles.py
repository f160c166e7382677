"""Roles that share people's rows; none of them can log in, people and services are members.

They belong to the whole server, so its operator makes them (``deploy/crypto``), not a version.
"""

import sqlalchemy as sa

READ, WRITE, AUDIT = "pii_read", "pii_write", "pii_audit"
"""For reading people's rows, for writing them as well, and for auditors."""
ROLES = (READ, WRITE, AUDIT)
_KNOWN = sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)")
_IS_WRITER = sa.text(
    "SELECT pg_has_role(oid, :writer, 'USAGE') FROM pg_roles WHERE rolname = :role"
)


def roles_problem(connection: sa.Connection, application: str | None) -> str:
    """Say which role is missing, or that ``application`` is no member of it; empty if all is well.

    With the statements that put it right.
    """
    found = set(connection.execute(_KNOWN, {"names": list(ROLES)}).scalars())
    if missing := [name for name in ROLES if name not in found]:
        made = "; ".join(f"CREATE ROLE {name} NOLOGIN" for name in missing)
        return f"roles are missing; as a superuser: {made}"
    asked = {"role": application, "writer": WRITE}
    if application is not None and not connection.scalar(_IS_WRITER, asked):
        return f"{application} may not write; as a superuser: GRANT {WRITE} TO {application}"
    return ""
