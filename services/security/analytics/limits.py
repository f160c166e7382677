"""What limits the records of a dashboard or a report, beside their own conditions.

A limit that a kind has nothing for is refused: what it shows would be of other records.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from mesh.cel import CelType, Environment, TableColumns
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import FieldInvalid
from mesh.sql.references import ID
from mesh.sql.store import Store
from mesh.sql.tables import KindTable

_CREATED, _PROJECT, _SEVERITY, _WHOLE = "create_time", "project_id", "severity", "projects"
_SCALES = ("Severity", "SonarSeverity")
"""Enums of severities; their values count from 1, informing, to 5."""
_PARAMETER = re.compile(r"[a-z_][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Limits:
    """Absent ones limit nothing; times are microseconds since 1970."""

    projects: Sequence[str] = ()
    """Names of ``projects``."""
    since: int | None = None
    """Records were created at this moment or later."""
    until: int | None = None
    """Records were created before this moment."""
    least_severity: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Texts that conditions may use, by name."""


def conditions_of(
    store: Store, target: KindTable, tenant: str, limits: Limits, filter_: str
) -> list[sa.ColumnElement[bool]]:
    """Write limits and a CEL condition over the rows of a kind; FieldInvalid, FilterInvalid."""
    found = list(_limits(store, target, tenant, limits))
    if filter_:
        found.append(_condition(store, target, filter_, limits.parameters))
    return found


def _limits(
    store: Store, target: KindTable, tenant: str, limits: Limits
) -> Iterator[sa.ColumnElement[bool]]:
    columns = target.table.c
    if limits.since is not None:
        yield columns[_CREATED] >= limits.since
    if limits.until is not None:
        yield columns[_CREATED] < limits.until
    if limits.least_severity:
        enum = target.kind.descriptor.fields_by_name.get(_SEVERITY)
        if enum is None or enum.enum_type is None or enum.enum_type.name not in _SCALES:
            raise _unlimited(target, "least_severity", "severity")
        yield columns[_SEVERITY] >= limits.least_severity
    if limits.projects:
        yield _of_projects(store, target, tenant, limits.projects)


def _of_projects(
    store: Store, target: KindTable, tenant: str, names: Sequence[str]
) -> sa.ColumnElement[bool]:
    """Condition that a record is of one of these projects, or of a part of one."""
    ids = [name.rpartition("/")[2] for name in names if _is_project(name, tenant)]
    columns, pattern = target.table.c, target.kind.references.get(_PROJECT)
    if target.kind.collection == _WHOLE:
        return columns[ID].in_(ids)
    if pattern is None:
        raise _unlimited(target, "projects", "project")
    collection = collection_of(pattern.text) or ""
    if collection == _WHOLE:
        return columns[_PROJECT].in_(ids)
    parts = store.target(collection).table.c
    of_parts = store.select(collection, tenant, [ID]).where(parts[_PROJECT].in_(ids))
    return columns[_PROJECT].in_(of_parts)


def _is_project(name: str, tenant: str) -> bool:
    # The name of another tenant's project is that of none.
    return tenant_of(name) == tenant and collection_of(name) == _WHOLE


def _unlimited(target: KindTable, limit: str, what: str) -> FieldInvalid:
    problem = f"{target.kind.collection} have no {what} that they could be limited by"
    return FieldInvalid.of(f"filters.{limit}", problem, "NOT_LIMITABLE")


def _condition(
    store: Store, target: KindTable, text: str, parameters: Mapping[str, str]
) -> sa.ColumnElement[bool]:
    for name in parameters:
        if not _PARAMETER.fullmatch(name):
            raise FieldInvalid.of("parameters", f"{name!r} is no name for a parameter")
    try:
        environment = Environment.of_kind(target.kind, dict.fromkeys(parameters, CelType.STRING))
    except ValueError as error:
        raise FieldInvalid.of("parameters", str(error)) from error
    condition = environment.compile(text)
    columns = TableColumns(target.table, target.kind, store.dialect)
    return condition.to_sql(columns, parameters, dialect=store.dialect)
