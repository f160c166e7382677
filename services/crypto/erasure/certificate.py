"""What is signed of an erasure: verified without the service, and what a restore is held against.

A note (``audit.note``) by the key that signs checkpoints. Its lines are

    secmesh erasure                            what it is
    secmesh.crypto/production                  which service, in which environment
    erasure tenants/acme/erasures/0199...      its name
    person 5c1f...                             ``person_digest``, in hexadecimal
    subject 00000001...                        pseudonyms in the audit, the newest last
    key 1                                      versions of the person's key that were destroyed
    field ssn 3                                fields whose values were deleted, with their tiers
    indexes 4                                  entries of blind indexes that were deleted
    changes 2                                  rows of the log of changes, under the pseudonym now
    ordered_at 1763800000000000                microseconds since 1970
    erased_at 1763800000100000
    caches_until 1763800090100000              from then on no process remembers a key
    backups_until 1764404800100000             from then on no backup holds the person
    checkpoint 4711 9d2c...                    newest of the audit then, its size and digest; or -
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.crypto.audit.note import NoteBroken, PublicKey
from services.crypto.audit.words import (
    Words,
    bytes_of,
    number_of,
    statement_text,
    statement_words,
    value_of,
    values_of,
)
from services.crypto.erasure.erasure import PATTERN, Destroyed, Erasure

KIND = "secmesh erasure"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIERS = range(1, 4)


@dataclass(frozen=True)
class Certificate:
    """An erasure that was done."""

    origin: str
    name: str
    person: bytes
    subjects: tuple[bytes, ...]
    destroyed: Destroyed
    ordered_at: int
    """Microseconds since 1970, as all moments here."""
    erased_at: int
    caches_until: int
    backups_until: int
    checkpoint: str
    """Size and digest of the newest checkpoint of the audit, ``-`` if there was none."""

    @classmethod
    def of(cls, erasure: Erasure, origin: str, checkpoint: str) -> "Certificate":
        """Say what was done; ValueError of one that is not."""
        return cls(
            origin,
            erasure.name,
            erasure.person,
            erasure.subjects,
            erasure.destroyed,
            _microseconds(erasure.ordered_at),
            _microseconds(erasure.erased_at),
            _microseconds(erasure.caches_until),
            _microseconds(erasure.backups_until),
            checkpoint,
        )

    def text(self) -> str:
        """Write what is signed."""
        destroyed = self.destroyed
        words = [
            ("erasure", self.name),
            ("person", self.person.hex()),
            *(("subject", each.hex()) for each in self.subjects),
            *(("key", str(version)) for version in destroyed.key_versions),
            *(("field", f"{name} {tier}") for name, tier in destroyed.fields),
            ("indexes", str(destroyed.index_count)),
            ("changes", str(destroyed.change_count)),
            ("ordered_at", str(self.ordered_at)),
            ("erased_at", str(self.erased_at)),
            ("caches_until", str(self.caches_until)),
            ("backups_until", str(self.backups_until)),
            ("checkpoint", self.checkpoint),
        ]
        return statement_text(KIND, self.origin, words)

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "Certificate":
        """Read a signed certificate; NoteBroken."""
        origin, words = statement_words(KIND, note, keys)
        if PATTERN.parse(value_of(words, "erasure")) is None:
            raise NoteBroken("a certificate names an erasure")
        return cls(
            origin,
            value_of(words, "erasure"),
            bytes_of(value_of(words, "person")),
            tuple(bytes_of(each) for each in values_of(words, "subject")),
            _destroyed(words),
            ordered_at=number_of(value_of(words, "ordered_at")),
            erased_at=number_of(value_of(words, "erased_at")),
            caches_until=number_of(value_of(words, "caches_until")),
            backups_until=number_of(value_of(words, "backups_until")),
            checkpoint=value_of(words, "checkpoint"),
        )

    def erasure(self) -> Erasure:
        """Give the erasure as a database that never heard of it is told."""
        tenant, erasure_id = PATTERN.parse(self.name) or ("", "")
        return Erasure(
            tenant,
            erasure_id,
            self.person,
            self.subjects,
            ordered_by="",
            destroyed=self.destroyed,
            ordered_at=_moment(self.ordered_at),
            erased_at=_moment(self.erased_at),
            caches_until=_moment(self.caches_until),
            backups_until=_moment(self.backups_until),
        )


def _destroyed(words: Words) -> Destroyed:
    return Destroyed(
        tuple(number_of(each) for each in values_of(words, "key")),
        tuple(_field(each) for each in values_of(words, "field")),
        number_of(value_of(words, "indexes")),
        number_of(value_of(words, "changes")),
    )


def _field(text: str) -> tuple[str, int]:
    name, _, tier = text.partition(" ")
    found = number_of(tier)
    if found not in _TIERS:
        raise NoteBroken("a tier is none")
    return name, found


def _microseconds(moment: datetime | None) -> int:
    if moment is None:
        raise ValueError("an erasure that is done has its moments")
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
