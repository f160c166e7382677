"""Persons imported from a stream: each by itself, part by part, and never twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.contract.names import NamePattern
from mesh.errors import FieldInvalid, Refusal, ResourceExists, ResourceNotFound
from mesh.identifiers import derived_uuid
from mesh.server.interceptors.validation import violations_of
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1.user_import_pb2 import ImportedUser
from services.crypto.audit.entry import Audit, Operation
from services.crypto.erasure.gate_store import erased_users
from services.crypto.errors import UserErased
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.fields import PersonFields
from services.crypto.persons.import_store import ImportStore, Progress
from services.crypto.persons.journal import Journal
from services.crypto.persons.people import require_storable, touched_in, write_new
from services.crypto.persons.person import PATTERN
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.sealing import PersonSealer, Stored
from services.crypto.persons.values import values_of

IMPORT = NamePattern("tenants/{tenant}/user_imports/{user_import}")


@dataclass(frozen=True)
class Import:
    """Which import a stream is of."""

    tenant: str
    import_id: str
    """A UUIDv7; the ids of persons are made of it."""

    def user_id(self, sequence: int) -> str:
        """Give the id of a person: the same one every time."""
        return derived_uuid(self.import_id, sequence)


Problems = dict[int, Refusal]
"""Why persons were refused, by their sequences."""


class Importing:
    """Stores parts of imports; each part is decided as a whole, with how far the import is."""

    def __init__(
        self,
        transactions: Transactions,
        persons: PersonStore,
        imports: ImportStore,
        config: ConfigStore,
        sealer: PersonSealer,
        audit: Audit,
    ) -> None:
        self._transactions = transactions
        self._persons = persons
        self._imports = imports
        self._config = config
        self._sealer = sealer
        self._audit = audit

    async def progress(self, wanted: Import) -> Progress:
        """Say how far an import is. Raises ResourceNotFound if it never began."""
        async with self._transactions.connection(wanted.tenant) as connection:
            found = await self._imports.find(connection, wanted.tenant, wanted.import_id)
        if found is None:
            raise ResourceNotFound(IMPORT.format(wanted.tenant, wanted.import_id))
        return found

    async def write(self, wanted: Import, users: Sequence[ImportedUser]) -> Problems:
        """Decide persons, in ascending order; give those that were refused now.

        What was decided before is passed over. A custodian or an audit that does not answer ends
        it with nothing decided.
        """
        journal = Journal(self._audit, wanted.tenant, Operation.CREATE)
        fields, values, problems = await self._checked(wanted, users)
        people = {wanted.user_id(sequence): each for sequence, each in values.items()}
        async with journal.refusals(people):
            stored = await self._sealer.seal(wanted.tenant, fields, people)
            async with self._transactions.transaction(wanted.tenant) as connection:
                before = await self._imports.lock(connection, wanted.tenant, wanted.import_id)
                late = {number for number in values if number <= before.resume_after}
                present = await self._persons.get(connection, wanted.tenant, people)
                for sequence in values.keys() - late:
                    if (user := wanted.user_id(sequence)) in present:
                        problems[sequence] = ResourceExists(PATTERN.format(wanted.tenant, user))
                fresh = _chosen(wanted, stored, values.keys() - late - problems.keys())
                if fresh:
                    await write_new(self._persons, connection, wanted.tenant, fresh)
                refused = {n: each for n, each in problems.items() if n > before.resume_after}
                newest = max((each.sequence for each in users), default=0)
                after = Progress(
                    max(before.resume_after, newest),
                    before.stored + len(fresh),
                    before.refused + len(refused),
                )
                await self._imports.advance(connection, wanted.tenant, wanted.import_id, after)
                await journal.record((user, touched_in(fields, people[user])) for user in fresh)
        return refused

    async def _checked(
        self, wanted: Import, users: Sequence[ImportedUser]
    ) -> tuple[PersonFields, dict[int, dict[str, str]], Problems]:
        """Give the tenant's fields, the values that can be stored, and why others cannot."""
        async with self._transactions.connection(wanted.tenant) as connection:
            fields = await self._config.fields(connection, wanted.tenant)
            settings = await self._config.settings(connection, wanted.tenant)
            before = await self._imports.find(connection, wanted.tenant, wanted.import_id)
            ids = {wanted.user_id(each.sequence): each.sequence for each in users}
            gone = {ids[user] for user in await erased_users(connection, wanted.tenant, ids)}
        decided = before.resume_after if before else 0
        values: dict[int, dict[str, str]] = {}
        problems: Problems = {}
        for each in users:
            if each.sequence <= decided:
                continue
            try:
                if each.sequence in gone:
                    raise UserErased(PATTERN.format(wanted.tenant, wanted.user_id(each.sequence)))
                values[each.sequence] = _storable(fields, settings, each)
            except Refusal as refusal:
                problems[each.sequence] = refusal
        return fields, values, problems


def _storable(
    fields: PersonFields, settings: Mapping[str, str], user: ImportedUser
) -> dict[str, str]:
    if violations := violations_of(user):
        raise FieldInvalid(*violations)
    values = values_of(user.user)
    require_storable(fields, settings, values)
    return values


def _chosen(
    wanted: Import, stored: Mapping[str, Stored], sequences: "set[int]"
) -> dict[str, Stored]:
    return {user: stored[user] for user in map(wanted.user_id, sorted(sequences))}
