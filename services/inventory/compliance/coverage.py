"""What the collection manifest says was read: unit by unit, the latest run of each.

A unit is one collection in one region of one account. Its rows count as read only if every
operation that lists them was answered, and as fresh only if that was not too long ago.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import record_pb2, sync_pb2

GLOBAL = "global"
READINGS_AT_A_TIME = 100
TOO_OLD = "TooOld"
"""Code of a list that was read, and before the oldest evidence that counts."""
ANSWERED = frozenset({record_pb2.READ_OUTCOME_READ, record_pb2.READ_OUTCOME_ABSENT})


class Standing(Enum):
    """Whether the rows of a unit can be weighed."""

    READ = 1
    UNREAD = 2
    STALE = 3


@dataclass(frozen=True)
class Unit:
    """One unit as its latest run left it."""

    cloud_account_id: str
    region: str
    """An AWS region, or ``global``."""
    collection: str
    sync: str
    """Name of the run."""
    entries: tuple[sync_pb2.ManifestEntry, ...]

    @cached_property
    def unanswered(self) -> tuple[sync_pb2.ManifestEntry, ...]:
        return tuple(entry for entry in self.entries if entry.outcome not in ANSWERED)

    @cached_property
    def lists(self) -> bool:
        """Whether it has a listing; without one, the account is its one resource."""
        return any(entry.listing for entry in self.entries)

    @cached_property
    def blocking(self) -> tuple[sync_pb2.ManifestEntry, ...]:
        """Entries that leave the whole unit unread."""
        if all(entry.outcome not in ANSWERED for entry in self.entries):
            return self.entries
        return tuple(entry for entry in self.unanswered if entry.listing)

    @cached_property
    def read_time(self) -> datetime:
        """When its resources were listed, or last read if it has no listing."""
        answered = [entry for entry in self.entries if entry.outcome in ANSWERED]
        listing = [entry for entry in answered if entry.listing]
        times = [entry.read_time.ToDatetime(UTC) for entry in listing or answered or self.entries]
        return min(times) if listing else max(times)

    def standing(self, oldest: datetime) -> Standing:
        """Tell how its rows count if nothing read before ``oldest`` does."""
        if self.blocking:
            return Standing.UNREAD
        return Standing.STALE if self.read_time < oldest else Standing.READ


@dataclass(frozen=True)
class Reading:
    """Rows that were read together, and when."""

    accounts: tuple[str, ...]
    read_time: datetime
    regions: frozenset[str] | None = None
    """Regions of the rows; None for all but ``other_regions``."""
    other_regions: frozenset[str] = frozenset()


class Coverage:
    """The units of the accounts that an evaluation looks at."""

    def __init__(self, accounts: Collection[str], units: Iterable[Unit]) -> None:
        self._units: dict[tuple[str, str], dict[str, Unit]] = {}
        self._regions: dict[str, set[str]] = {}
        for unit in units:
            key = (unit.cloud_account_id, unit.collection)
            self._units.setdefault(key, {})[unit.region] = unit
            if unit.region != GLOBAL:
                self._regions.setdefault(unit.cloud_account_id, set()).add(unit.region)
        collected = {account for account, _ in self._units}
        self.accounts: tuple[str, ...] = tuple(sorted({*accounts} or collected))
        self.empty = not collected
        self.everywhere = not accounts
        """Whether all accounts that were ever collected are looked at."""

    def regions(self, account: str) -> frozenset[str]:
        """Give the regions of an account of which anything was asked."""
        return frozenset(self._regions.get(account, ()))

    def units(self, account: str, collection: str) -> Mapping[str, Unit]:
        """Give an account's units of a collection by region."""
        return self._units.get((account, collection), {})

    def units_of_row(self, account: str, collection: str, region: str) -> Sequence[Unit]:
        """Give the units that answer for rows of a region.

        A bucket lives in a region and is listed globally; a trail may live in a region that was
        not read, then every unit of the account must vouch for it.
        """
        units = self.units(account, collection)
        for candidate in (region, GLOBAL):
            if candidate in units:
                return [units[candidate]]
        return list(units.values())

    def standing(self, account: str, collection: str, region: str, oldest: datetime) -> Standing:
        """Tell how rows of a region count."""
        units = self.units_of_row(account, collection, region)
        standings = {unit.standing(oldest) for unit in units} or {Standing.UNREAD}
        if Standing.UNREAD in standings:
            return Standing.UNREAD
        return Standing.STALE if Standing.STALE in standings else Standing.READ

    def gaps(self, account: str, collection: str) -> list[pb.ManifestGap]:
        """Give what leaves the listing of a collection incomplete."""
        units = self.units(account, collection)
        blocking = [entry for unit in units.values() for entry in unit.blocking]
        never = {""} if not units else set()
        if units and GLOBAL not in units:
            never = self._regions.get(account, set()) - units.keys()
        return [
            *(pb.ManifestGap(cloud_account_id=account, region=each) for each in sorted(never)),
            *map(gap_of, blocking),
        ]

    def outdated(
        self, account: str, collection: str, oldest: datetime, region: str = ""
    ) -> list[pb.ManifestGap]:
        """Give the lists, of a region or all, too old to say that nothing else is there today."""
        return [
            pb.ManifestGap(
                cloud_account_id=account,
                region=unit.region,
                outcome=record_pb2.READ_OUTCOME_READ,
                code=TOO_OLD,
            )
            for unit in self.units(account, collection).values()
            if not region or unit.region in (region, GLOBAL)
            if unit.standing(oldest) is Standing.STALE
        ]

    def field_gaps(self, actions: Iterable[str]) -> list[pb.ManifestGap]:
        """Give the entries whose unanswered reads these actions would have allowed.

        A field may be derived from another collection's reads, so all units are searched.
        """
        wanted = {*actions}
        return [
            gap_of(entry)
            for unit in self._all_units()
            for entry in unit.unanswered
            if entry.action in wanted and entry not in unit.blocking
        ]

    def unanswered_actions(self) -> list[str]:
        """Give the actions of all reads that were not answered, sorted."""
        found = {entry.action for unit in self._all_units() for entry in unit.unanswered}
        return sorted(found - {""})

    def _all_units(self) -> Iterator[Unit]:
        for units in self._units.values():
            yield from units.values()

    def readings(self, collection: str, *, together: bool, at: datetime) -> list[Reading]:
        """Split the rows of a collection by when they were read.

        With ``together`` the moment does not matter and all are one reading, ``at``.
        """
        if together:
            return [Reading(self.accounts, at)] if self.accounts else []
        return [
            reading
            for account in self.accounts
            for reading in self._account_readings(account, collection, at)
        ]

    def reading_groups(
        self, collection: str, *, together: bool, at: datetime
    ) -> Iterator[list[Reading]]:
        """Give the readings in groups that one statement can tell apart, of whole accounts."""
        group: list[Reading] = []
        for reading in self.readings(collection, together=together, at=at):
            full = len(group) >= READINGS_AT_A_TIME
            if full and reading.accounts != group[-1].accounts:
                yield group
                group = []
            group.append(reading)
        if group:
            yield group

    def _account_readings(self, account: str, collection: str, at: datetime) -> list[Reading]:
        by_sync: dict[str, list[Unit]] = {}
        for unit in self.units(account, collection).values():
            by_sync.setdefault(unit.sync, []).append(unit)
        if not by_sync:
            return [Reading((account,), at)]
        newest, *others = sorted(
            by_sync.values(), key=lambda units: max(unit.read_time for unit in units), reverse=True
        )
        elsewhere = frozenset(unit.region for units in others for unit in units)
        found = [Reading((account,), _read_time(newest), None, elsewhere)]
        for units in others:
            regions = frozenset(unit.region for unit in units)
            found.append(Reading((account,), _read_time(units), regions))
        return found


def _read_time(units: Sequence[Unit]) -> datetime:
    return max(unit.read_time for unit in units)


def gap_of(entry: sync_pb2.ManifestEntry) -> pb.ManifestGap:
    """Give an unanswered entry as what it leaves open."""
    return pb.ManifestGap(
        cloud_account_id=entry.cloud_account_id,
        region=entry.region,
        operation=entry.operation,
        action=entry.action,
        outcome=entry.outcome,
        code=entry.code,
    )


def units_of_manifest(entries: Iterable[tuple[str, sync_pb2.ManifestEntry]]) -> list[Unit]:
    """Group entries, each with the name of its run, into units."""
    grouped: dict[tuple[str, str, str, str], list[sync_pb2.ManifestEntry]] = {}
    for sync, entry in entries:
        key = (entry.cloud_account_id, entry.region, entry.collection, sync)
        grouped.setdefault(key, []).append(entry)
    return [Unit(*key, tuple(found)) for key, found in grouped.items()]
