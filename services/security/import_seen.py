"""What a report saw again of one scope, within its transaction: groups of findings, not each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.sighting_store import Member, SightingStore
from services.security.import_known import MOST, Known, count, entry, parts


class KnownChanged(Exception):
    """Findings that were recalled have changed since; the report must be read without that."""


@dataclass
class Seen:
    """The groups of one scope, and the one that the findings of this report form."""

    store: SightingStore
    known: Known
    group: str
    """Id of the report's own group, and of the scan that saw it."""
    etag: str
    moment: int
    """When, in microseconds since 1970."""
    absent: dict[str, Member] = field(default_factory=dict)
    """Of the groups what the report has not shown so far."""
    _had: set[int] = field(default_factory=set)
    """Places of groups that had members."""
    _joined: int = 0
    _fresh: dict[str, list[bytes]] = field(default_factory=dict)
    _is_open: bool = False

    @property
    def groups(self) -> list[str]:
        """The ids of the known groups."""
        return [group.id for group in self.known.groups]

    async def begin(self, connection: AsyncConnection) -> None:
        """Take the known groups; nobody else changes their findings then. Raises KnownChanged."""
        members = await self.store.members(connection, self.known.groups)
        self._had = {member.group for member in members.values()}
        for finding in self.known.shown():
            member = members.pop(finding, None)
            if member is None or not member.same:
                raise KnownChanged
        self.absent = members

    async def open(self, connection: AsyncConnection) -> None:
        """Have the report's own group, so that findings can join it."""
        if not self._is_open:
            self._is_open = True
            await self.store.note(connection, [self.group], self.moment, self.group)

    def joined(self, traced: Iterable[tuple[bytes, str]]) -> None:
        """Note findings that were written into the report's own group, with their traces."""
        for each, finding in traced:
            self.absent.pop(finding, None)
            self._joined += 1
            if self._joined <= MOST:
                self._keep(self.group, each, finding)
            else:
                self._fresh.clear()

    def stayed(self, traced: Iterable[tuple[bytes, str]]) -> None:
        """Note findings that were read and stay in their groups, with their traces."""
        for each, finding in traced:
            member = self.absent.pop(finding, None)
            if member is not None and member.same:
                self._keep(self.known.groups[member.group].id, each, finding)

    def _keep(self, group: str, traced: bytes, finding: str) -> None:
        if kept := entry(traced, finding):
            self._fresh.setdefault(group, []).append(kept)

    async def finish(self, connection: AsyncConnection) -> None:
        """Write down what was seen again."""
        await self.store.take_out(connection, self.absent)
        lost = [each.id for at, each in enumerate(self.known.groups) if at not in self._had]
        if lost:
            await self.store.drop(connection, lost)
        kept = [each for each in self.groups if each not in lost]
        await self.store.note(connection, kept, self.moment, self.group)
        for place, group in enumerate(self.known.groups):
            if fresh := self._fresh.pop(group.id, None):
                entries = self.known.live(place) + b"".join(fresh)
                await self.store.form(connection, group.id, group.etag, parts(entries))
        if 0 < self._joined <= MOST:
            fresh = self._fresh.pop(self.group, [])
            await self.store.form(connection, self.group, self.etag, parts(b"".join(fresh)))


async def learn(connection: AsyncConnection, store: SightingStore) -> Known:
    """Read what is known of a scope; nothing, if that is too much to tell results by."""
    groups = await store.groups(connection, MOST)
    if groups is None or sum(count(part) for each in groups for part in each.parts) > MOST:
        await store.drop_all(connection)
        return Known(())
    return Known(groups)


def names(seen: Sequence[Seen]) -> list[str]:
    """Give the ids of all their known groups."""
    return [group for each in seen for group in each.groups]
