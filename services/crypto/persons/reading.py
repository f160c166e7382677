"""Persons read: what is sealed stays masked, unless it is asked for with a right and a purpose."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.errors import ResourceNotFound
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.errors import ValueUnopenable
from services.crypto.field_cipher import FieldCipher, Sealed
from services.crypto.keys.keyring import FieldKeyring
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.fields import PersonField, PersonFields
from services.crypto.persons.journal import Journal, Touched, touched_of
from services.crypto.persons.person import PATTERN, IndexEntry, Person, entry_of
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.refusals import FieldNotSearchable, SearchTooWide
from services.crypto.persons.sealing import TABLE
from services.crypto.persons.unmasking import UNMASK, permit
from services.crypto.persons.values import normal_form
from services.crypto.suite.blind_index import bits_for
from services.crypto.suite.header import Tier, read_header

_AT_ONCE = 500
"""Candidates of a search that are opened together."""
_CANDIDATES = 5000
"""Candidates of a search, beyond which it is refused."""


@dataclass(frozen=True)
class Shown:
    """A person, and what the caller may see of what is sealed."""

    person: Person
    opened: Mapping[str, str] = field(default_factory=dict, repr=False)


class Reading:
    """Reads the persons of tenants."""

    def __init__(
        self,
        transactions: Transactions,
        persons: PersonStore,
        config: ConfigStore,
        cipher: FieldCipher,
        field_keys: FieldKeyring,
        audit: Audit,
    ) -> None:
        self._transactions = transactions
        self._persons = persons
        self._config = config
        self._cipher = cipher
        self._field_keys = field_keys
        self._audit = audit

    async def get(
        self, tenant: str, user_ids: Sequence[str], unmask: Collection[str], purpose: str
    ) -> list[Shown]:
        """Give persons by their ids, all or none.

        Raises ResourceNotFound; with ``unmask`` also FieldInvalid, PermissionMissing,
        PurposeRefused, ValueUnopenable, KeyDisabled. What was asked for and refused is in the
        audit as well.
        """
        if not unmask:
            async with self._transactions.connection(tenant) as connection:
                people = await self._persons.get(connection, tenant, user_ids)
            return [Shown(each) for each in _all_of(tenant, user_ids, people)]
        journal = Journal(self._audit, tenant, Operation.DECRYPT, purpose)
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
            wanted = [fields.named(name, "unmask") for name in unmask]
            touched = touched_of((each.name, each.tier) for each in wanted)
            async with journal.refusals(user_ids, touched):
                allowed = await self._config.purpose(connection, tenant, purpose)
                permit(wanted, purpose, allowed.fields if allowed else (), [UNMASK])
                found = await self._persons.get(connection, tenant, user_ids)
                people_found = _all_of(tenant, user_ids, found)
        # The connection is back: keys and the audit have their own.
        return await self._opened(tenant, fields, people_found, wanted, journal)

    async def _opened(
        self,
        tenant: str,
        fields: PersonFields,
        people: Sequence[Person],
        wanted: Sequence[PersonField],
        journal: Journal,
    ) -> list[Shown]:
        names = {each.name for each in wanted}
        sealed = [
            Sealed(person.user_id, fields[name].rule, value)
            for person in people
            for name, value in person.values.items()
            if name in names and isinstance(value, bytes)
        ]
        asked = touched_of((each.name, each.tier) for each in wanted)
        async with journal.refusals([each.user_id for each in people], asked):
            bodies = await self._cipher.open(tenant, TABLE, sealed)
        opened: dict[str, dict[str, str]] = {each.user_id: {} for each in people}
        failed: set[str] = set()
        for value, body in zip(sealed, bodies, strict=True):
            if isinstance(body, ValueUnopenable):
                failed.add(value.user_id)
            else:
                opened[value.user_id][value.rule.name] = body.decode()
        problem = ValueUnopenable.reason.name
        await journal.record_all(
            [
                (person.user_id, touched, problem if person.user_id in failed else "")
                for person in people
                if (touched := _touched(person, wanted))
            ]
        )
        if failed:
            raise ValueUnopenable
        return [Shown(person, opened[person.user_id]) for person in people]

    async def page(self, tenant: str, after: str | None, limit: int) -> list[Shown]:
        """Give the persons after an id, everything sealed masked."""
        async with self._transactions.connection(tenant) as connection:
            people = await self._persons.page(connection, tenant, after, limit)
        return [Shown(each) for each in people]

    async def search(self, tenant: str, name: str, value: str, limit: int) -> list[Shown]:
        """Give the persons who have a value in a field, everything sealed masked.

        Raises FieldInvalid, ValueInvalid, FieldNotSearchable, SearchTooWide.
        """
        journal = Journal(self._audit, tenant, Operation.SEARCH)
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
            field = fields.named(name, "field")
            if not field.searchable:
                raise FieldNotSearchable(name)
            normal = normal_form(field, value)
            found = await self._persons.with_clear_value(connection, tenant, name, value, limit)
        touched = touched_of([(name, field.tier)])
        if field.has_blind_index:
            async with journal.refusals([], touched):
                found |= await self._by_index(tenant, field, normal)
        users = sorted(found)[:limit]
        await journal.record((user, touched) for user in users or [""])
        return [Shown(found[user]) for user in users]

    async def _by_index(self, tenant: str, field: PersonField, normal: str) -> dict[str, Person]:
        """Open those whose index is that of the value, and give those who have it."""
        bits = bits_for(field.possible_values)
        keys = await self._field_keys.index_keys(tenant, field.name)
        entries = [entry_of(tenant, field.name, each, normal, bits) for each in keys]
        found: dict[str, Person] = {}
        after: str | None = None
        for _ in range(_CANDIDATES // _AT_ONCE):
            people = await self._candidates(tenant, entries, after)
            found |= await self._having(tenant, field, normal, people)
            if len(people) < _AT_ONCE:
                return found
            after = max(people)
        raise SearchTooWide(field.name)

    async def _candidates(
        self, tenant: str, entries: Sequence[IndexEntry], after: str | None
    ) -> dict[str, Person]:
        async with self._transactions.connection(tenant) as connection:
            ids = await self._persons.candidates(connection, tenant, entries, after, _AT_ONCE)
            return await self._persons.get(connection, tenant, ids)

    async def _having(
        self, tenant: str, field: PersonField, normal: str, people: Mapping[str, Person]
    ) -> dict[str, Person]:
        sealed = [
            Sealed(user, field.rule, value)
            for user, person in people.items()
            if isinstance(value := person.values.get(field.name), bytes)
        ]
        bodies = await self._cipher.open(tenant, TABLE, sealed)
        return {
            value.user_id: people[value.user_id]
            for value, body in zip(sealed, bodies, strict=True)
            if isinstance(body, bytes) and normal_form(field, body.decode()) == normal
        }


def _all_of(tenant: str, user_ids: Sequence[str], people: Mapping[str, Person]) -> list[Person]:
    for user_id in user_ids:
        if user_id not in people:
            raise ResourceNotFound(PATTERN.format(tenant, user_id))
    return [people[user_id] for user_id in user_ids]


def _touched(person: Person, wanted: Iterable[PersonField]) -> Touched:
    """Give the fields that were opened, each with the tier that its value was sealed at."""
    return touched_of(
        (each.name, _tier(value, each))
        for each in wanted
        if isinstance(value := person.values.get(each.name), bytes)
    )


def _tier(blob: bytes, field: PersonField) -> Tier:
    try:
        return read_header(blob).tier
    except ValueUnopenable:
        return field.tier
