"""Brings values that stand there to the tier that their field has by now, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.errors import ResourceNotFound
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.errors import ValueUnopenable
from services.crypto.field_cipher import FieldCipher, Sealed
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.decisions import USER_FIELD
from services.crypto.persons.fields import PersonField, PersonFields
from services.crypto.persons.journal import Journal, touched_of
from services.crypto.persons.person import Person, Value
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.sealing import TABLE, PersonSealer, Stored
from services.crypto.suite.header import Tier, read_header


@dataclass(frozen=True)
class Raised:
    """What became of some persons."""

    examined: int
    resealed: int
    failed: int
    """Persons whose value does not open: it stays as it is."""
    last: str | None
    """The id after which others come; None if there are none."""


class TierRaising:
    """Seals values again that were written before the tier of their field was raised."""

    def __init__(
        self,
        transactions: Transactions,
        persons: PersonStore,
        config: ConfigStore,
        cipher: FieldCipher,
        sealer: PersonSealer,
        audit: Audit,
    ) -> None:
        self._transactions = transactions
        self._persons = persons
        self._config = config
        self._cipher = cipher
        self._sealer = sealer
        self._audit = audit

    async def apply(self, tenant: str, name: str, after: str | None, limit: int) -> Raised:
        """Look at the persons after an id. Raises ResourceNotFound, KeyDisabled.

        What a person's value was changed to meanwhile is left alone: it has the tier already.
        """
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
            people = await self._persons.page(connection, tenant, after, limit)
        field = fields.find(name)
        if field is None:
            raise ResourceNotFound(USER_FIELD.format(tenant, name))
        low = [person for person in people if _is_below(person.values.get(name), field)]
        journal = Journal(self._audit, tenant, Operation.ENCRYPT)
        touched = touched_of([(name, field.tier)])
        async with journal.refusals([each.user_id for each in low], touched):
            plain = await self._opened(tenant, field, low)
            wanted = {user: {name: value} for user, value in plain.items()}
            stored = await self._sealer.seal(tenant, fields, wanted)
        resealed = await self._written(tenant, fields, name, low, stored, journal)
        failed = [each.user_id for each in low if each.user_id not in plain]
        problem = ValueUnopenable.reason.name
        await journal.record_all([(user, touched, problem) for user in failed])
        last = people[-1].user_id if len(people) == limit else None
        return Raised(len(people), resealed, len(failed), last)

    async def _opened(
        self, tenant: str, field: PersonField, people: Sequence[Person]
    ) -> dict[str, str]:
        """Give the values in clear, by the ids of persons; without those that do not open."""
        values = {each.user_id: each.values[field.name] for each in people}
        sealed = [
            Sealed(user, field.rule, value)
            for user, value in values.items()
            if isinstance(value, bytes)
        ]
        bodies = await self._cipher.open(tenant, TABLE, sealed)
        plain = {user: value for user, value in values.items() if isinstance(value, str)}
        for each, body in zip(sealed, bodies, strict=True):
            if isinstance(body, bytes):
                plain[each.user_id] = body.decode()
        return plain

    async def _written(
        self,
        tenant: str,
        fields: PersonFields,
        name: str,
        before: Sequence[Person],
        stored: Mapping[str, Stored],
        journal: Journal,
    ) -> int:
        """Write values in the place of those that stand there still; give how many."""
        seen = {each.user_id: each.values[name] for each in before}
        touched = touched_of([(name, fields[name].tier)])
        async with self._transactions.transaction(tenant) as connection:
            people = await self._persons.get(connection, tenant, stored, for_update=True)
            same = [user for user, each in people.items() if each.values.get(name) == seen[user]]
            for user in same:
                values = stored[user].values
                await self._persons.update(connection, tenant, people[user], values)
            entries = {user: stored[user].entries for user in same}
            await self._persons.write_index(connection, tenant, entries)
            await journal.record((user, touched) for user in same)
        return len(same)


def _is_below(value: Value | None, field: PersonField) -> bool:
    if value is None:
        return False
    try:
        return (Tier.CLEAR if isinstance(value, str) else read_header(value).tier) < field.tier
    except ValueUnopenable:
        # It is looked at, and told of.
        return True
