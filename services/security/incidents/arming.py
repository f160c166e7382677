"""Playbooks armed: what changes of records may set off, checked, and whose rights it has."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Kind
from mesh.errors import FilterInvalid, ResourceNotFound
from mesh.identity.caller import Caller
from mesh.sql.changes import ChangeFeed
from mesh.sql.store import Store
from secmesh.security.v1.playbook_watch_pb2 import PlaybookWatch
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import PlaybookRefused
from services.security.findings.due import set_moment
from services.security.incidents.life import INCIDENTS
from services.security.incidents.playbooks import PLAYBOOKS
from services.security.incidents.watch_store import WatchStore, condition_of, watch_of
from services.security.workflows.feed_following import AUTOMATIC
from services.security.writers import Writer

ACTOR = AUTOMATIC[1]
MAX_FOLLOWED = 100
"""Playbooks that one follows, however deep."""


class Arming:
    """Arms and disarms; PlaybookRefused, PermissionMissing, ResourceNotFound."""

    def __init__(self, store: Store, editor: RecordEditor, kinds: Mapping[str, Kind]) -> None:
        self.watches = WatchStore(store, kinds, editor.clock)
        self._store = store
        self._editor = editor
        self._kinds = kinds
        self._feed = ChangeFeed(store)

    async def arm(
        self, playbook: str, caller: Caller, etag: str = "", *, tries: bool = False
    ) -> PlaybookWatch:
        """Watch from now on, with the rights of the caller; with ``tries`` write nothing."""
        revision = str(await self._feed.present(required_tenant(playbook)))
        async with self._store.transaction() as connection:
            # A watch is locked before its playbook, as those that start one do.
            old = await self.watches.lock(connection, watch_of(playbook))
            record = await self._editor.find(connection, playbook, etag)
            self._check(record, caller)
            watch = PlaybookWatch(
                name=watch_of(playbook),
                playbook=playbook,
                armed=True,
                armed_by=caller.subject,
                permissions=sorted(caller.permissions),
                trigger_conditions=record.response_playbook.trigger_conditions,
                digest=await self.digest(connection, record),
                revision=revision,
                start_count=old.start_count if old is not None else 0,
            )
            set_moment(watch, "arm_time", self._editor.clock())
            tenant = required_tenant(playbook)
            user = await self._editor.users.of_subject(connection, tenant, caller.subject)
            if user is not None:
                watch.activator, watch.activator_role = user.name, user.user.role
            if not tries:
                await self.watches.arm(connection, watch)
        return watch

    async def disarm(self, playbook: str) -> PlaybookWatch:
        """Watch no more."""
        async with self._store.transaction() as connection:
            watch: PlaybookWatch | None = await self.watches.lock(connection, watch_of(playbook))
            if watch is None:
                await self._store.get(PLAYBOOKS, playbook, connection=connection)
                return PlaybookWatch(name=watch_of(playbook), playbook=playbook)
            watch.armed = False
            await self.watches.save(connection, watch)
        return watch

    async def show(self, playbook: str) -> PlaybookWatch:
        """Give the watch of a playbook, one that was never armed too."""
        await self._store.get(PLAYBOOKS, playbook, columns=["etag"])
        try:
            found: PlaybookWatch = await self.watches.find(watch_of(playbook))
        except ResourceNotFound:
            return PlaybookWatch(name=watch_of(playbook), playbook=playbook)
        return found

    async def digest(self, connection: AsyncConnection, record: Any) -> str:
        """Hash what a playbook says, and those that it follows; PlaybookRefused for too many."""
        books, waiting = {record.name: record.response_playbook}, [record.response_playbook]
        while waiting:
            for name in sorted(_followed(waiting.pop())):
                if name not in books:
                    if len(books) > MAX_FOLLOWED:
                        problem = f"follows more than {MAX_FOLLOWED} playbooks"
                        raise PlaybookRefused(record.name, problem)
                    found = await self.book(connection, name)
                    if found is None:
                        raise PlaybookRefused(name, "does not exist")
                    books[name] = found.response_playbook
                    waiting.append(books[name])
        whole = hashlib.sha256()
        for name in sorted(books):
            for part in (name.encode(), _content(books[name])):
                whole.update(len(part).to_bytes(4, "big") + part)
        return whole.hexdigest()

    async def book(self, connection: AsyncConnection, name: str) -> Any:
        """Give a playbook, which stays free for others to write; None if there is none."""
        columns = self._store.target(PLAYBOOKS).table.c
        found = self._store.select(PLAYBOOKS, required_tenant(name))
        found = found.where(columns.id == name.rpartition("/")[2])
        records = await self._store.messages(PLAYBOOKS, found, connection=connection)
        return records[0] if records else None

    def _check(self, record: Any, caller: Caller) -> None:
        body, writer = record.response_playbook, Writer(caller.subject, caller.permissions)
        if body.status != DefinitionStatus.DEFINITION_STATUS_ACTIVE:
            raise PlaybookRefused(record.name, "is not in use")
        if not body.trigger_conditions:
            raise PlaybookRefused(record.name, "has no trigger_conditions")
        for permission in _needed(body):
            writer.require(permission)
        for place, each in enumerate(body.trigger_conditions):
            where = f"trigger_conditions[{place}]"
            kind = self._kinds.get(each.collection)
            if kind is None:
                raise PlaybookRefused(record.name, f"{where}: no collection {each.collection!r}")
            writer.require(kind.permission("list"))
            try:
                condition_of(kind, each)
            except FilterInvalid as error:
                raise PlaybookRefused(record.name, f"{where}: {error.message}") from None


def _needed(body: Any) -> Iterator[str]:
    """Give what a playbook takes, beside the sight of what sets it off."""
    yield f"security.{INCIDENTS}.respond"
    if any(each.collection != INCIDENTS for each in body.trigger_conditions):
        yield f"security.{INCIDENTS}.create"
    if body.is_automated and body.workflow_id:
        yield "security.workflows.run"
    if body.requires_approval:
        yield f"security.{PLAYBOOKS}.approve"


def _followed(body: Any) -> set[str]:
    return {each.playbook_id for each in body.steps if each.playbook_id}


def _content(body: Any) -> bytes:
    """Give what a playbook says, without what is counted as it is used."""
    said = type(body)()
    said.CopyFrom(body)
    for name in ("execution_count", "last_execute_time"):
        said.ClearField(name)
    content: bytes = said.SerializeToString(deterministic=True)
    return content
