"""The manifest of a run: how every operation of every unit was answered."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256

from mesh.aws.operations import action
from mesh.aws.outcomes import FEDERATED_SESSION, Outcome
from mesh.aws.reader import Entry, EntryKey, Ledger, Unread
from secmesh.inventory.v1.sync_pb2 import ManifestEntry
from services.inventory.collect.draft import timestamp
from services.inventory.collect.versions import ID_DIGITS, Unit, outcome_value

WHOLE = frozenset({Outcome.READ, Outcome.ABSENT})
"""Outcomes that leave nothing unknown."""
_ADVICE = {
    FEDERATED_SESSION: "The account is entered by a user's key, whose sessions may call nothing of "
    "IAM: have it entered by a role, or store the key with a role_arn that the user may assume."
}
"""What to do, by code."""


def manifest_entries(sync: str, unit: Unit, ledger: Ledger) -> Iterator[ManifestEntry]:
    """Write a unit's ledger as entries of its run."""
    for key, entry in ledger.entries.items():
        yield _entry(sync, unit, key, entry, listing=key.operation in ledger.listings)


def broken(unit: Unit, problem: Exception) -> Unread:
    """Give the gap that a unit leaves which broke off for a reason of our own."""
    operation = next(iter(unit.collector.listings), "")
    return Unread.of(operation, Outcome.FAILED, type(problem).__name__)


def failed_unit(sync: str, unit: Unit, gap: Unread, when: datetime) -> ManifestEntry:
    """Write that a unit broke off; all its resources are unread."""
    key = EntryKey(gap.operation, gap.outcome, gap.code)
    return _entry(sync, unit, key, Entry(read_time=when), listing=True)


def _entry(sync: str, unit: Unit, key: EntryKey, entry: Entry, *, listing: bool) -> ManifestEntry:
    parts = (unit.region, unit.collector.collection, key.operation, key.outcome.name, key.code)
    digest = sha256("\0".join(parts).encode()).hexdigest()[:ID_DIGITS]
    return ManifestEntry(
        name=f"{sync}/manifestEntries/{digest}",
        cloud_account_id=unit.cloud_account_id,
        region=unit.region,
        collection=unit.collector.collection,
        operation=key.operation,
        action=action(key.operation),
        outcome=outcome_value(key.outcome),
        code=key.code,
        calls=entry.calls,
        pages=entry.pages,
        resources=entry.resources,
        listing=listing,
        read_time=timestamp(entry.read_time),
        advice=_ADVICE.get(key.code, ""),
    )


def is_whole(ledger: Ledger) -> bool:
    """Tell whether every call of a unit was answered."""
    return all(key.outcome in WHOLE for key in ledger.entries)
