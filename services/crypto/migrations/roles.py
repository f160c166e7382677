"""Roles that share people's rows; none of them can log in, people and services are members.

They belong to the whole server, so its operator makes them (``deploy/crypto``), not a version.
"""

import sqlalchemy as sa

READ, WRITE, AUDIT = "pii_read", "pii_write", "pii_audit"
"""For reading people's rows, for writing them as well, and for auditors."""
APPEND = "pii_audit_append"
"""For writing audit entries, and nothing else."""
ROLES = (READ, WRITE, AUDIT, APPEND)
SERVICE = (WRITE, AUDIT, APPEND)
"""Those that the service itself is a member of."""
_KNOWN = sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)")
_JOINED = sa.text("SELECT pg_has_role(oid, :group, 'USAGE') FROM pg_roles WHERE rolname = :role")


def roles_problem(connection: sa.Connection, application: str | None) -> str:
    """Say which role is missing, or that ``application`` is no member of it; empty if all is well.

    With the statements that put it right.
    """
    found = set(connection.execute(_KNOWN, {"names": list(ROLES)}).scalars())
    if missing := [name for name in ROLES if name not in found]:
        made = "; ".join(f"CREATE ROLE {name} NOLOGIN" for name in missing)
        return f"roles are missing; as a superuser: {made}"
    if application is None:
        return ""
    joined = {
        group: connection.scalar(_JOINED, {"role": application, "group": group})
        for group in SERVICE
    }
    if missing := [group for group in SERVICE if not joined[group]]:
        granted = "; ".join(f"GRANT {group} TO {application}" for group in missing)
        return f"{application} may not write people or the audit; as a superuser: {granted}"
    return ""
