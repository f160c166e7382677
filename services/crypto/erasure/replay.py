"""Does erasures again in a database that was restored from a backup older than they are.

The second place has the certificate of every erasure that anybody was told of; a database that
does not know one of them as done is older, and nobody is served from it before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mesh.sql.tenancy import of_removed_tenants
from mesh.sql.transactions import Transactions
from services.crypto.audit.anchors import ERASURES, erasure_in, erasure_name
from services.crypto.audit.entry import Audit
from services.crypto.audit.note import NoteBroken
from services.crypto.erasure.certificate import Certificate
from services.crypto.erasure.destruction_store import DestructionStore
from services.crypto.erasure.erasing import Registry, access_of
from services.crypto.erasure.erasure import PATTERN, State
from services.crypto.erasure.erasure_store import ErasureLog, ErasureWork
from services.crypto.erasure.gate_store import shut_gate
from services.crypto.erasure.person_digest import person_digest
from services.crypto.keys.news import tell
from services.crypto.persons.person_store import PersonStore

_AT_ONCE = 10_000
"""Ids of users in memory."""
_PRINCIPAL = "system"


class CertificateBroken(Exception):
    """The second place holds what is no certificate of its name; the message names it."""


@dataclass(frozen=True)
class Kept:
    """A certificate in the second place."""

    certificate: Certificate
    note: str


async def missing_erasures(
    transactions: Transactions, registry: Registry
) -> Mapping[str, Sequence[Kept]]:
    """Give the erasures that a database does not know as done, by their tenants.

    Raises AnchorFailed, CertificateBroken.
    """
    named: dict[str, set[str]] = {}
    for name in await registry.place.names(ERASURES):
        if (found := erasure_in(name)) is not None:
            named.setdefault(found[0], set()).add(found[1])
    missing: dict[str, list[Kept]] = {}
    for tenant, ids in named.items():
        with of_removed_tenants():
            async with transactions.connection(tenant) as connection:
                done = await ErasureLog().done(connection, tenant, ids)
        for erasure_id in sorted(ids - done):
            kept = await _kept(registry, tenant, erasure_id)
            missing.setdefault(tenant, []).append(kept)
    return missing


async def _kept(registry: Registry, tenant: str, erasure_id: str) -> Kept:
    name = erasure_name(tenant, erasure_id)
    note = await registry.place.note(name) or ""
    try:
        found = Certificate.opened(note, [registry.signer.public])
    except NoteBroken as error:
        raise CertificateBroken(f"{name}: {error}") from error
    if (found.origin, found.name) != (registry.origin, PATTERN.format(tenant, erasure_id)):
        raise CertificateBroken(f"{name}: is the certificate of {found.name} in {found.origin}")
    return Kept(found, note)


class Replay:
    """Works on one database."""

    def __init__(
        self, transactions: Transactions, persons: PersonStore, audit: Audit, registry: Registry
    ) -> None:
        self._transactions = transactions
        self._people = DestructionStore(persons)
        self._audit = audit
        self._registry = registry
        self._erasures = ErasureLog()
        self._work = ErasureWork()

    async def run(self) -> tuple[int, int]:
        """Do again what is missing; give how many erasures, and how many persons were found.

        Raises AnchorFailed, CertificateBroken.
        """
        erasures = persons = 0
        missing = await missing_erasures(self._transactions, self._registry)
        for tenant, certificates in missing.items():
            users = await self._users(tenant, {each.certificate.person for each in certificates})
            for kept in certificates:
                user_id = users.get(kept.certificate.person)
                await self._again(kept, user_id)
                erasures += 1
                persons += user_id is not None
        return erasures, persons

    async def _users(self, tenant: str, persons: set[bytes]) -> dict[bytes, str]:
        """Give the ids of some persons, as far as the database knows of them."""
        found: dict[bytes, str] = {}
        after: str | None = None
        while True:
            async with self._transactions.connection(tenant) as connection:
                ids = await self._people.users(connection, tenant, after, _AT_ONCE)
            digests = ((person_digest(tenant, each), each) for each in ids)
            found |= {digest: each for digest, each in digests if digest in persons}
            if len(ids) < _AT_ONCE:
                return found
            after = ids[-1]

    async def _again(self, kept: Kept, user_id: str | None) -> None:
        """Destroy a person, and keep the certificate of the first time."""
        erasure = kept.certificate.erasure()
        tenant, due = erasure.tenant, (erasure.tenant, erasure.erasure_id)
        async with self._transactions.transaction(tenant) as connection:
            await shut_gate(connection, tenant)
            found = await self._erasures.get(connection, *due, lock=True)
            if found is None:
                state = State.ORDERED if user_id else State.CERTIFIED
                await self._erasures.add(connection, replace(erasure, state=state, user_id=user_id))
            elif found.state is not State.ORDERED:
                return
            await self._work.drop(connection, due)
            if user_id is not None:
                destroyed = await self._people.destroy(connection, *_of(due, user_id))
                access = access_of(replace(erasure, ordered_by=_PRINCIPAL), user_id)
                await self._audit.record([access._replace(fields=destroyed.fields)])
            await tell(connection, tenant)
            await self._erasures.replayed(connection, erasure, kept.note)


def _of(due: tuple[str, str], user_id: str) -> tuple[str, str, str]:
    tenant, erasure_id = due
    return tenant, user_id, erasure_id
