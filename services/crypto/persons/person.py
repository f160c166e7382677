"""A person as the store has it: each value in clear or sealed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mesh.contract.names import NamePattern
from services.crypto.suite.blind_index import IndexKey

PATTERN = NamePattern("tenants/{tenant}/users/{user}")
Value = str | bytes
"""A text is in clear, bytes are sealed."""


@dataclass(frozen=True)
class Person:
    """One stored person."""

    user_id: str
    """A UUIDv7 in its canonical text."""
    values: Mapping[str, Value] = field(repr=False)
    """By the names of fields; those without a value are left out."""
    revision: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def etag(self) -> str:
        """Changes with every write, and is never that of another person of the same id."""
        made = self.created_at.timestamp() if self.created_at else 0
        return f"{round(made * 1_000_000):x}-{self.revision:x}"


class IndexEntry(NamedTuple):
    """By what a sealed value is found."""

    field: str
    key_version: int
    value: int


def entry_of(tenant: str, field_name: str, key: IndexKey, normal: str, bits: int) -> IndexEntry:
    """Make the entry of a value in its normal form."""
    return IndexEntry(field_name, key.version, key.index(tenant, field_name, normal, bits))
