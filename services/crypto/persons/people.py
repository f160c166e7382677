"""Persons stored, changed and removed; each of it is in the audit before the caller knows."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import EtagMismatch, ResourceNotFound
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.erasure.gate_store import pass_gate, require_not_erased
from services.crypto.errors import KeyDisabled
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.fields import PersonFields
from services.crypto.persons.journal import Journal, Touched, touched_of
from services.crypto.persons.person import PATTERN, Person, Value
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.refusals import EncryptionDisabled
from services.crypto.persons.sealing import PersonSealer, Stored
from services.crypto.persons.values import check

_ENABLED = "encryption_enabled"


class People:
    """Writes the persons of tenants."""

    def __init__(
        self,
        transactions: Transactions,
        persons: PersonStore,
        config: ConfigStore,
        sealer: PersonSealer,
        audit: Audit,
    ) -> None:
        self._transactions = transactions
        self._persons = persons
        self._config = config
        self._sealer = sealer
        self._audit = audit

    async def create(
        self, tenant: str, people: Mapping[str, Mapping[str, str]]
    ) -> Sequence[Person]:
        """Store persons by their ids, all or none.

        Raises FieldInvalid, ValueInvalid, EncryptionDisabled, ResourceExists, UserErased.
        """
        journal = Journal(self._audit, tenant, Operation.CREATE)
        async with journal.refusals(people):
            fields = await self._checked(tenant, people.values())
            stored = await self._sealed(tenant, fields, people)
            async with self._transactions.transaction(tenant) as connection:
                made = await write_new(self._persons, connection, tenant, stored)
                await journal.record((user, touched_in(fields, people[user])) for user in people)
        return [made[user] for user in people]

    async def update(
        self, tenant: str, user_id: str, changed: Mapping[str, str | None], etag: str
    ) -> Person:
        """Change values of a person; None takes one away.

        Raises FieldInvalid, ValueInvalid, EncryptionDisabled, ResourceNotFound, EtagMismatch.
        """
        journal = Journal(self._audit, tenant, Operation.UPDATE)
        async with journal.refusals([user_id]):
            async with self._transactions.connection(tenant) as reader:
                found = await self._persons.get(reader, tenant, [user_id])
            # Before a key is made for nobody.
            _standing(tenant, user_id, found, etag)
            fields = await self._checked(tenant, [changed])
            stored = await self._sealer.seal(tenant, fields, {user_id: changed})
            async with self._transactions.transaction(tenant) as connection:
                found = await self._persons.get(connection, tenant, [user_id], for_update=True)
                person = _standing(tenant, user_id, found, etag)
                made = await self._persons.update(
                    connection, tenant, person, stored[user_id].values
                )
                entries = {user_id: stored[user_id].entries}
                await self._persons.write_index(connection, tenant, entries)
                await journal.record([(user_id, touched_in(fields, changed))])
        return made

    async def delete(self, tenant: str, user_id: str, etag: str) -> None:
        """Remove a person. Raises ResourceNotFound, EtagMismatch."""
        journal = Journal(self._audit, tenant, Operation.DELETE)
        async with (
            journal.refusals([user_id]),
            self._transactions.transaction(tenant) as connection,
        ):
            found = await self._persons.get(connection, tenant, [user_id], for_update=True)
            person = _standing(tenant, user_id, found, etag)
            fields = await self._config.fields(connection, tenant)
            await self._persons.delete(connection, tenant, user_id)
            await journal.record([(user_id, touched_in(fields, person.values))])

    async def _sealed(
        self, tenant: str, fields: PersonFields, people: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Stored]:
        """Seal new persons. Raises UserErased, KeyDisabled."""
        try:
            return await self._sealer.seal(tenant, fields, people)
        except KeyDisabled:
            # Who was erased gets no key; that is the better word for it.
            async with self._transactions.connection(tenant) as connection:
                await require_not_erased(connection, tenant, people)
            raise

    async def _checked(
        self, tenant: str, people: Iterable[Mapping[str, str | None]]
    ) -> PersonFields:
        """Hold values against the tenant's fields and settings; give the fields."""
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
            settings = await self._config.settings(connection, tenant)
        for values in people:
            require_storable(fields, settings, values)
        return fields


def require_storable(
    fields: PersonFields, settings: Mapping[str, str], values: Mapping[str, str | None]
) -> None:
    """Hold values against a tenant's fields and settings.

    Raises FieldInvalid, ValueInvalid, EncryptionDisabled.
    """
    check(fields, values)
    for name, value in values.items():
        if value is not None and fields[name].sealed and settings[_ENABLED] != "true":
            raise EncryptionDisabled(name)


def _standing(tenant: str, user_id: str, found: Mapping[str, Person], etag: str) -> Person:
    name = PATTERN.format(tenant, user_id)
    person = found.get(user_id)
    if person is None:
        raise ResourceNotFound(name)
    if etag and etag != person.etag:
        raise EtagMismatch(name)
    return person


async def write_new(
    persons: PersonStore, connection: AsyncConnection, tenant: str, stored: Mapping[str, Stored]
) -> dict[str, Person]:
    """Write new persons as they were sealed, all or none; give them by id.

    Raises ResourceExists, UserErased.
    """
    await pass_gate(connection, tenant)
    await require_not_erased(connection, tenant, stored)
    new = [Person(user, _present(each.values)) for user, each in stored.items()]
    made = await persons.insert(connection, tenant, new)
    entries = {user: each.entries for user, each in stored.items()}
    await persons.write_index(connection, tenant, entries)
    return made


def _present(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


def touched_in(fields: PersonFields, names: Iterable[str]) -> Touched:
    """Give fields of persons as an entry names them, with their tiers of now."""
    return touched_of((name, fields[name].tier) for name in names)
