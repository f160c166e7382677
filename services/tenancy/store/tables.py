"""The six tables as data: their keys, indexes, projections and times to live.

Adapters, ``create.py`` and the templates under deploy/ derive what they need from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

PK = "pk"
SK = "sk"
EXPIRES_AT = "expires_at"
"""Seconds since 1970 after which DynamoDB may remove an item, within days (all tables)."""
DEFAULT_PREFIX = "threat-engine"


class Table(Enum):
    """One of the tables; the value is the last part of its default name."""

    TENANTS = "tenants"
    PROVIDERS = "providers"
    ACCOUNTS = "accounts"
    SCHEDULES = "schedules"
    EXECUTIONS = "executions"
    SCAN_RESULTS = "scan-results"

    @property
    def default_name(self) -> str:
        """Its name in DynamoDB unless the environment says otherwise."""
        return f"{DEFAULT_PREFIX}-{self.value}"

    @property
    def variable(self) -> str:
        """The variable of the environment that names it."""
        return f"DYNAMODB_{self.name}_TABLE"

    @property
    def indexes(self) -> "Mapping[str, Index]":
        """Its global secondary indexes by name."""
        return INDEXES[self]


class Projection(Enum):
    """Which attributes an index repeats beside its keys and those of the table."""

    KEYS_ONLY = "KEYS_ONLY"
    INCLUDE = "INCLUDE"
    ALL = "ALL"


@dataclass(frozen=True)
class Index:
    """A global secondary index. An item without its key attributes is not in it."""

    name: str
    projection: Projection = Projection.KEYS_ONLY
    included: tuple[str, ...] = ()
    """Attributes of the projection INCLUDE."""
    sorted: bool = True
    """Whether it has a sort key."""

    @property
    def pk(self) -> str:
        """The attribute of its partition key, such as ``by_status_pk``."""
        return f"{self.name.replace('-', '_')}_pk"

    @property
    def sk(self) -> str:
        """The attribute of its sort key; empty without one."""
        return f"{self.name.replace('-', '_')}_sk" if self.sorted else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Its key attributes, all of them texts."""
        return (self.pk, self.sk) if self.sorted else (self.pk,)


_ALL = Projection.ALL


def _indexes(*indexes: Index) -> Mapping[str, Index]:
    return MappingProxyType({index.name: index for index in indexes})


# What changes often stays out of an index: each change of a projected attribute is a write more,
# and pages of KEYS_ONLY are read from the table itself by one get_many.
INDEXES: Mapping[Table, Mapping[str, Index]] = MappingProxyType(
    {
        Table.TENANTS: _indexes(Index("by-status", _ALL)),
        Table.PROVIDERS: _indexes(),
        Table.ACCOUNTS: _indexes(Index("by-provider", _ALL), Index("by-id", sorted=False)),
        Table.SCHEDULES: _indexes(
            Index("by-account"), Index("due", Projection.INCLUDE, ("version",))
        ),
        Table.EXECUTIONS: _indexes(Index("by-account"), Index("by-tenant"), Index("lease")),
        Table.SCAN_RESULTS: _indexes(Index("by-execution", _ALL), Index("by-tenant", _ALL)),
    }
)
"""All indexes by table and name."""

DEFAULT_NAMES: Mapping[Table, str] = MappingProxyType(
    {table: table.default_name for table in Table}
)
"""The names of the tables in DynamoDB unless the environment says otherwise."""
