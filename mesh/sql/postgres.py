"""PostgreSQL 15 or later as an engine, over psycopg 3."""

import contextlib
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mesh.server.call import find_current_call
from mesh.sql.iam_password import REGION, IamPasswords
from mesh.sql.pool import MeasuredPool
from mesh.sql.removed_tenants import SHARED_LOCK, lock_key
from mesh.sql.settings import ACTING, ACTING_FOR, REQUEST, SERVED, WRITE, EngineUrlError, Pool

OLDEST = 15
"""The oldest major version that is supported."""
TENANT_SETTING = "secmesh.tenant"
"""What the policies of tables ask: the tenant that a transaction works for."""
CANCELED = "57014"
LOCKED = "55P03"
DEADLOCK = "40P01"
"""SQLSTATE of a statement that took longer than it may."""
DENIED = "42501"
"""SQLSTATE of what a role may not do, rows of another tenant included."""
_UNIQUE, _REFERENCE, _RESTRICT, _CHECK, _NOT_NULL = "23505", "23503", "23001", "23514", "23502"
_DATA_CLASS = "22"
"""Class of errors that quote values in their first line already."""
# Compiling a condition to machine code takes longer than most of them run.
_OPTIONS = "-c TimeZone=UTC -c DateStyle=ISO -c client_encoding=UTF8 -c jit=off"


def open_postgres(url: sa.URL, pool: Pool) -> AsyncEngine:
    """Open a server; ``sslmode`` and the like are parameters of the URL, as libpq names them.

    One more, ``iam_region``, has IAM of AWS decide instead of a password.
    """
    passwords = IamPasswords(url) if REGION in url.query else None
    if pool.shows_statements:
        # By the logs of the process: SQLAlchemy's own echo writes to standard output.
        logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        # Parameters hold tenants' data: they stay out of every error text.
        hide_parameters=True,
        poolclass=MeasuredPool,
        pool_logging_name=pool.name,
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=pool.wait_seconds,
        pool_recycle=pool.recycle_seconds,
        # A server that was restarted costs a look at each connection, never a call.
        pool_pre_ping=True,
        # JSON passes as text in both directions.
        json_serializer=str,
        json_deserializer=_text,
        connect_args={
            "connect_timeout": pool.connect_seconds,
            "options": _OPTIONS,
            "application_name": "secmesh",
        },
    )
    if passwords is not None:
        sa.event.listen(engine.sync_engine, "do_connect", passwords.provide)
    sa.event.listen(engine.sync_engine, "connect", _check_server)
    sa.event.listen(engine.sync_engine, "begin", _begin)
    sa.event.listen(engine.sync_engine, "handle_error", _forget_data)
    return engine


@contextlib.contextmanager
def catalogue_json(connection: sa.Connection) -> Iterator[None]:
    """Read JSON as values for a while: SQLAlchemy asks PostgreSQL's catalogue in JSON."""
    from psycopg.types.json import set_json_loads

    driver = connection.connection.driver_connection
    set_json_loads(json.loads, driver)
    try:
        yield
    finally:
        set_json_loads(_text, driver)


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode()


def _check_server(connection: Any, _record: Any) -> None:
    """Refuse a server on which conditions would mean something else."""
    info = connection.info
    problem = ""
    if info.server_version < OLDEST * 10_000:
        problem = f"PostgreSQL {OLDEST} or later is needed"
    elif info.parameter_status("server_encoding") != "UTF8":
        problem = "the database must be encoded in UTF8"
    if problem:
        connection.close()
        raise EngineUrlError(problem)


def _begin(connection: sa.Connection) -> None:
    """Let no statement outlive the call it serves; readers see one snapshot."""
    options = connection.get_execution_options()
    writes = options.get(WRITE, False)
    if not writes:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    # Settings of the transaction alone: the pool's next user finds none of them.
    local: dict[str, str] = {}
    call = find_current_call()
    if call is not None and math.isfinite(call.remaining):
        local["statement_timeout"] = str(max(1, int(call.remaining * 1000)))
    if call is not None and call.caller.subject:
        # Who writes is asked by the triggers of the change feed.
        local[ACTING] = call.caller.subject
        local[REQUEST] = call.request_id
    if tenant := options.get(ACTING_FOR):
        local[TENANT_SETTING] = tenant
    calls = ["set_config(%s, %s, true)" for _ in local]
    values = [part for pair in local.items() for part in pair]
    if writes and (served := options.get(SERVED)):
        calls.append(SHARED_LOCK)
        values.append(lock_key(served))
    if calls:
        connection.exec_driver_sql(f"SELECT {', '.join(calls)}", tuple(values))


def _forget_data(context: sa.ExceptionContext) -> None:
    """Take the row out of an error's text: the server quotes it in the details."""
    import psycopg

    cause = context.original_exception
    if not isinstance(cause, psycopg.Error) or cause.sqlstate is None:
        return
    quotes = cause.sqlstate.startswith(_DATA_CLASS)
    told = "a value does not fit" if quotes else cause.diag.message_primary
    text = f"{cause.sqlstate}: {told}"
    cause.args = (text,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (text,)


def violated_check(error: sa.exc.IntegrityError) -> str | None:
    """Give the name of the CHECK (or ``table.column`` of the NOT NULL) that a row breaks."""
    cause: Any = error.orig
    if sqlstate(error) is None:
        return None
    if cause.sqlstate == _NOT_NULL:
        return f"{cause.diag.table_name}.{cause.diag.column_name}"
    name: str | None = cause.diag.constraint_name
    return name if cause.sqlstate == _CHECK else None


def violates_unique(error: sa.exc.IntegrityError) -> bool:
    """Tell whether a row exists already under the same key."""
    return sqlstate(error) == _UNIQUE


def violates_reference(error: sa.exc.IntegrityError) -> bool:
    """Tell whether a row refers to none, or is still referred to."""
    return sqlstate(error) in (_REFERENCE, _RESTRICT)


def sqlstate(error: sa.exc.DBAPIError) -> str | None:
    """Give the SQLSTATE of an error, None if it has none."""
    # Other drivers' errors have none; whoever uses SQLite does without psycopg.
    found: str | None = getattr(error.orig, "sqlstate", None)
    return found
