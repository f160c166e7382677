"""The table of answers to requests that carried a ``request_id``."""

import sqlalchemy as sa

from mesh.sql.types import Timestamp, id_type

NAME = "answered_requests"
"""No collection of a contract may have this name."""
TENANT, CALLER, METHOD, REQUEST_ID = "tenant_id", "caller", "method", "request_id"
SALT, DIGEST, ANSWER, EXPIRES = "salt", "digest", "answer", "expire_time"


def answers_table(metadata: sa.MetaData) -> sa.Table:
    """Make the table: one row for each request, until it expires."""
    keys = (TENANT, CALLER, METHOD, REQUEST_ID)
    return sa.Table(
        NAME,
        metadata,
        *(sa.Column(name, id_type(), nullable=False) for name in keys),
        sa.Column(SALT, sa.LargeBinary(), nullable=False),
        sa.Column(DIGEST, sa.LargeBinary(), nullable=False),
        # Empty until the answer is there, which no other transaction ever sees.
        sa.Column(ANSWER, sa.LargeBinary(), nullable=False),
        sa.Column(EXPIRES, Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint(*keys),
        sa.Index(f"ix_{NAME}_{EXPIRES}", TENANT, EXPIRES),
    )
