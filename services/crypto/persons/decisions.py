"""What a tenant decides about its persons' data; each decision is in the audit."""

from collections.abc import Mapping

from mesh.contract.names import NamePattern
from mesh.errors import FieldInvalid, ResourceExists, ResourceNotFound
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.persons.config_store import ConfigStore, PurposeRow
from services.crypto.persons.fields import CONTRACT, PersonField, PersonFields
from services.crypto.persons.journal import Journal, touched_of
from services.crypto.persons.refusals import TierLowered
from services.crypto.suite.header import Tier

PURPOSE = NamePattern("tenants/{tenant}/purposes/{purpose}")
USER_FIELD = NamePattern("tenants/{tenant}/user_fields/{user_field}")
_TAKEN = frozenset({"id", "tenant_id", "name", "etag", "fields", "masked", "revision"})
"""Names that mean something else of a person already."""


class Decisions:
    """Reads and writes the settings, purposes and fields of tenants."""

    def __init__(self, transactions: Transactions, store: ConfigStore, audit: Audit) -> None:
        self._transactions = transactions
        self._store = store
        self._audit = audit

    async def settings(self, tenant: str) -> dict[str, str]:
        """Give the settings that hold for a tenant."""
        async with self._transactions.connection(tenant) as connection:
            return await self._store.settings(connection, tenant)

    async def change_settings(
        self, tenant: str, changed: Mapping[str, str | None], principal: str
    ) -> dict[str, str]:
        """Set settings, leave those that are None to what holds for all; give all that hold."""
        journal = Journal(self._audit, tenant, Operation.CONFIGURE)
        async with self._transactions.transaction(tenant) as connection:
            await self._store.change_settings(connection, tenant, changed, principal)
            found = await self._store.settings(connection, tenant)
            await journal.record([("", ())])
        return found

    async def purposes(self, tenant: str, after: str | None, limit: int) -> list[PurposeRow]:
        """Give the purposes after an id."""
        async with self._transactions.connection(tenant) as connection:
            return await self._store.purposes(connection, tenant, after, limit)

    async def add_purpose(self, tenant: str, purpose: PurposeRow) -> PurposeRow:
        """Add a purpose. Raises FieldInvalid for a field of no person, ResourceExists."""
        journal = Journal(self._audit, tenant, Operation.CONFIGURE, purpose.purpose_id)
        async with self._transactions.transaction(tenant) as connection:
            fields = await self._store.fields(connection, tenant)
            named = [
                fields.named(name, f"purpose.fields[{place}]")
                for place, name in enumerate(purpose.fields)
            ]
            made = await self._store.add_purpose(connection, tenant, purpose)
            if made is None:
                raise ResourceExists(PURPOSE.format(tenant, purpose.purpose_id))
            await journal.record([("", touched_of((each.name, each.tier) for each in named))])
        return made

    async def remove_purpose(self, tenant: str, purpose_id: str) -> None:
        """Take a purpose away. Raises ResourceNotFound."""
        journal = Journal(self._audit, tenant, Operation.CONFIGURE, purpose_id)
        async with self._transactions.transaction(tenant) as connection:
            if not await self._store.remove_purpose(connection, tenant, purpose_id):
                raise ResourceNotFound(PURPOSE.format(tenant, purpose_id))
            await journal.record([("", ())])

    async def fields(self, tenant: str) -> PersonFields:
        """Give the fields of a tenant's persons."""
        async with self._transactions.connection(tenant) as connection:
            return await self._store.fields(connection, tenant)

    async def define(self, tenant: str, wanted: PersonField) -> PersonField:
        """Define a field of the tenant's own. Raises FieldInvalid, ResourceExists."""
        if wanted.name in _TAKEN:
            raise FieldInvalid.of("user_field_id", "means something else of a person", "RESERVED")
        name = USER_FIELD.format(tenant, wanted.name)
        journal = Journal(self._audit, tenant, Operation.CONFIGURE)
        async with self._transactions.transaction(tenant) as connection:
            # Two who define a field at once would draw the same number.
            await self._store.lock(connection, tenant)
            number = await self._store.free_number(connection, tenant)
            if wanted.name in CONTRACT or number is None:
                raise ResourceExists(name)
            if not await self._store.define(connection, tenant, wanted.numbered(number)):
                raise ResourceExists(name)
            await journal.record([("", touched_of([(wanted.name, wanted.tier)]))])
            return (await self._store.fields(connection, tenant))[wanted.name]

    async def raise_tier(self, tenant: str, name: str, tier: Tier) -> PersonField:
        """Raise the tier of a field. Raises ResourceNotFound, TierLowered."""
        journal = Journal(self._audit, tenant, Operation.CONFIGURE)
        async with self._transactions.transaction(tenant) as connection:
            await self._store.lock(connection, tenant)
            field = (await self._store.fields(connection, tenant)).find(name)
            if field is None:
                raise ResourceNotFound(USER_FIELD.format(tenant, name))
            if tier < field.tier:
                raise TierLowered(name)
            await self._store.raise_tier(connection, tenant, field, tier)
            await journal.record([("", touched_of([(name, tier)]))])
            return (await self._store.fields(connection, tenant))[name]
