"""The place a sealed value belongs to, as the bytes that its key is derived from.

Each item after its length as 2 bytes: label, environment, tenant, user id (16 bytes), table,
field, header. Only what never changes is in it; a purpose, which differs by reader, is not.
"""

import uuid
from dataclasses import dataclass, field
from functools import lru_cache

from mesh.sealing.canonical import length_prefixed

_OUTER = b"secmesh/pii/1"
_INNER = b"secmesh/pii/1/inner"
_WIDTH = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose value it is, and in which table."""

    environment: str
    tenant: str
    user_id: str
    """A UUID in its canonical text."""
    table: str
    _outer: bytes = field(init=False, repr=False, compare=False)
    _rest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rest = canonical(uuid.UUID(self.user_id).bytes, self.table.encode())
        object.__setattr__(self, "_rest", rest)
        object.__setattr__(self, "_outer", _beginning(_OUTER, self.environment, self.tenant) + rest)

    def outer_context(self, field_name: str, header: bytes) -> bytes:
        """Give the context of the layer by the user's key."""
        return self._outer + _field_items(field_name, header)

    def inner_context(self, field_name: str, header: bytes) -> bytes:
        """Give the context of the layer by the app key; the header is ``Header.inner``."""
        beginning = _beginning(_INNER, self.environment, self.tenant)
        return beginning + self._rest + _field_items(field_name, header)


@lru_cache(1024)
def _beginning(label: bytes, environment: str, tenant: str) -> bytes:
    return canonical(label, environment.encode(), tenant.encode())


@lru_cache(4096)
def _field_items(field_name: str, header: bytes) -> bytes:
    return canonical(field_name.encode(), header)


def canonical(*items: bytes) -> bytes:
    """Join items so that no two different sequences give the same bytes."""
    return length_prefixed(items, width=_WIDTH)
