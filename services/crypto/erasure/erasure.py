"""An erasure as the store has it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mesh.contract.names import NamePattern
from services.crypto.persons.journal import Touched

PATTERN = NamePattern("tenants/{tenant}/erasures/{erasure}")


class State(StrEnum):
    """How far an erasure is."""

    ORDERED = "ordered"
    """For good; nothing is done yet."""
    ERASED = "erased"
    """Keys are destroyed and data deleted; the certificate may not be in its second place."""
    CERTIFIED = "certified"


@dataclass(frozen=True)
class Destroyed:
    """What was there of a person."""

    key_versions: tuple[int, ...] = ()
    fields: Touched = ()
    """With the tiers that their values were kept at."""
    index_count: int = 0
    """Entries of blind indexes."""
    change_count: int = 0
    """Rows of the log of changes, which stay under a pseudonym."""


@dataclass(frozen=True)
class Erasure:
    """One person, gone or about to go."""

    tenant: str
    erasure_id: str
    person: bytes
    """``person_digest``."""
    subjects: tuple[bytes, ...]
    """Pseudonyms of the person in the audit, the newest last."""
    ordered_by: str
    request_id: str = ""
    state: State = State.ORDERED
    user_id: str | None = field(default=None, repr=False)
    """None once the person is gone."""
    destroyed: Destroyed = field(default_factory=Destroyed)
    ordered_at: datetime | None = None
    erased_at: datetime | None = None
    caches_until: datetime | None = None
    """From then on no process remembers a key."""
    backups_until: datetime | None = None
    """From then on no backup is kept that holds the person."""
    replayed_at: datetime | None = None
    """When it was done once more in a database that was restored."""
    certificate: str = ""

    @property
    def name(self) -> str:
        """The resource name."""
        return PATTERN.format(self.tenant, self.erasure_id)
