"""Erases persons: ordered for good first, then done, then certified, whoever is killed in between.

Each step is one transaction that finds out what was done before, so that any process goes on from
where another was killed, and a person is erased once with one certificate.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import EtagMismatch, ResourceExists, ResourceNotFound
from mesh.server.call import current_call
from mesh.sql.transactions import Transactions, act_as
from services.crypto.audit.anchors import AnchorFailed, Anchors, erasure_name
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.audit.note import Signer, digest
from services.crypto.audit.seal_store import newest_note
from services.crypto.audit.statements import NOTHING
from services.crypto.audit.subjects import Subjects
from services.crypto.erasure.certificate import Certificate
from services.crypto.erasure.destruction_store import DestructionStore
from services.crypto.erasure.erasure import Erasure, State
from services.crypto.erasure.erasure_store import ErasureLog, ErasureWork
from services.crypto.erasure.gate_store import shut_gate
from services.crypto.erasure.person_digest import person_digest
from services.crypto.keys.hierarchy import REMEMBERED_SECONDS
from services.crypto.keys.news import tell
from services.crypto.persons.journal import Journal
from services.crypto.persons.person import PATTERN
from services.crypto.persons.person_store import PersonStore

LONGEST_CALL_SECONDS = 30
"""What a call may take (``secmesh.options.v1.method``): it may hold a key that it was given."""
CACHES = timedelta(seconds=REMEMBERED_SECONDS + LONGEST_CALL_SECONDS)
"""How long a process that hears of nothing may use a key after it was destroyed."""
LEASE = timedelta(seconds=30)
"""After which an erasure that was begun is gone on with by another."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registry:
    """Who signs for erasures, and where their certificates are kept a second time."""

    origin: str
    signer: Signer
    subjects: Subjects
    place: Anchors
    backups: timedelta
    """How long backups of the database are kept."""


class Erasing:
    """Orders erasures and does them."""

    def __init__(
        self,
        transactions: Transactions,
        persons: PersonStore,
        forget: Callable[[str], None],
        audit: Audit,
        registry: Registry,
    ) -> None:
        """``forget`` lets go of what this process remembers of a tenant's users."""
        self._transactions = transactions
        self._persons = persons
        self._people = DestructionStore(persons)
        self._forget = forget
        self._audit = audit
        self._registry = registry
        self._erasures = ErasureLog()
        self._work = ErasureWork()

    async def erase(self, tenant: str, user_id: str, etag: str, erasure_id: str) -> Erasure:
        """Erase a person, and give the erasure as far as it is.

        Who asks with the id of an erasure of that person is given that one. Raises
        ResourceNotFound, EtagMismatch; ResourceExists if the id is another person's erasure.
        """
        journal = Journal(self._audit, tenant, Operation.ERASE)
        async with journal.refusals([user_id]):
            ordered = await self._order(tenant, user_id, etag, erasure_id)
        return await self.advance(tenant, ordered.erasure_id)

    async def _order(self, tenant: str, user_id: str, etag: str, erasure_id: str) -> Erasure:
        person = person_digest(tenant, user_id)
        async with self._transactions.transaction(tenant) as connection:
            # Two who order the same person's erasure at once make one of it.
            await shut_gate(connection, tenant)
            named = await self._erasures.get(connection, tenant, erasure_id)
            if named is not None:
                if named.person != person:
                    raise ResourceExists(named.name)
                return named
            found = await self._erasures.of_person(connection, tenant, person)
            if found is not None and found.state is State.ORDERED:
                return found
            await self._require(connection, tenant, user_id, etag)
            call = current_call()
            ordered = Erasure(
                tenant,
                erasure_id,
                person,
                tuple(self._registry.subjects.all_of(tenant, uuid.UUID(user_id).bytes)),
                ordered_by=call.caller.subject,
                request_id=call.request_id,
                user_id=user_id,
            )
            await self._erasures.add(connection, ordered)
            await self._work.schedule(connection, (tenant, erasure_id), LEASE)
        return ordered

    async def _require(
        self, connection: AsyncConnection, tenant: str, user_id: str, etag: str
    ) -> None:
        if not await self._people.exists(connection, tenant, user_id):
            raise ResourceNotFound(PATTERN.format(tenant, user_id))
        if etag:
            found = await self._persons.get(connection, tenant, [user_id], for_update=True)
            if user_id not in found or found[user_id].etag != etag:
                raise EtagMismatch(PATTERN.format(tenant, user_id))

    async def advance(self, tenant: str, erasure_id: str) -> Erasure:
        """Do what is left to do of an erasure, as far as it goes. Raises ResourceNotFound.

        While the second place does not take the certificate it stays ERASED, to be gone on with.
        """
        erasure = await self._destroyed(tenant, erasure_id)
        if erasure.state is State.CERTIFIED:
            return erasure
        try:
            return await self._certified(erasure)
        except AnchorFailed as error:
            _LOG.warning("erasure %s waits for its certificate: %s", erasure.name, error)
            return erasure

    async def _destroyed(self, tenant: str, erasure_id: str) -> Erasure:
        async with self._transactions.transaction(tenant) as connection:
            await shut_gate(connection, tenant)
            erasure = await self._erasures.get(connection, tenant, erasure_id, lock=True)
            if erasure is None:
                raise ResourceNotFound(f"tenants/{tenant}/erasures/{erasure_id}")
            if erasure.user_id is None:
                return erasure
            await act_as(connection, erasure.ordered_by)
            destroyed = await self._people.destroy(connection, tenant, erasure.user_id, erasure_id)
            access = access_of(erasure, erasure.user_id)._replace(fields=destroyed.fields)
            erasure = await self._erasures.erased(
                connection, erasure, destroyed, CACHES, self._registry.backups
            )
            await tell(connection, tenant)
            await self._audit.record([access])
        self._forget(tenant)
        return erasure

    async def _certified(self, erasure: Erasure) -> Erasure:
        """Sign what was done, once, and keep it in both places; AnchorFailed."""
        registry, due = self._registry, (erasure.tenant, erasure.erasure_id)
        name = erasure_name(*due)
        if not erasure.certificate:
            # A database that was restored may not know that it was signed.
            certificate = await registry.place.note(name)
            async with self._transactions.transaction(erasure.tenant) as connection:
                newest = await newest_note(connection)
                checkpoint = f"{newest[0]} {digest(newest[1])}" if newest else NOTHING
                made = Certificate.of(erasure, registry.origin, checkpoint).text()
                signed = certificate or registry.signer.sign(made)
                erasure = await self._erasures.certify(connection, erasure, signed)
        await registry.place.put(name, erasure.certificate)
        async with self._transactions.transaction(erasure.tenant) as connection:
            await self._work.drop(connection, due)
            return await self._erasures.certified(connection, erasure)

    async def get(self, tenant: str, erasure_id: str) -> Erasure:
        """Give an erasure. Raises ResourceNotFound."""
        async with self._transactions.connection(tenant) as connection:
            found = await self._erasures.get(connection, tenant, erasure_id)
        if found is None:
            raise ResourceNotFound(f"tenants/{tenant}/erasures/{erasure_id}")
        return found

    async def page(self, tenant: str, before: str | None, limit: int) -> list[Erasure]:
        """Give erasures before an id, the newest first."""
        async with self._transactions.connection(tenant) as connection:
            return await self._erasures.page(connection, tenant, before, limit)

    async def of_user(self, tenant: str, user_id: str) -> Erasure | None:
        """Give the erasure of a person; None if there is none."""
        async with self._transactions.connection(tenant) as connection:
            person = person_digest(tenant, user_id)
            return await self._erasures.of_person(connection, tenant, person)


def access_of(erasure: Erasure, user_id: str) -> Access:
    """Say in the audit that a person was erased, and by which erasure."""
    return Access(
        tenant=erasure.tenant,
        operation=Operation.ERASE,
        principal=erasure.ordered_by,
        request_id=erasure.request_id,
        user_id=uuid.UUID(user_id).bytes,
        details=f"erasure {erasure.erasure_id}",
    )
