"""Values sealed, opened and sealed again for those who keep them; each use is in the audit."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from mesh.errors import Refusal
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.errors import FieldNotSealed, KeyDisabled, ValueUnopenable
from services.crypto.field_cipher import FieldCipher, Plain, Sealed
from services.crypto.keys.keyring import UserKeyring
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.fields import PersonField, PersonFields
from services.crypto.persons.journal import Journal, Touched
from services.crypto.persons.refusals import EncryptionDisabled
from services.crypto.persons.unmasking import permit
from services.crypto.suite.header import Tier, read_header

ENCRYPTION_ENABLED = "encryption_enabled"


class Item(NamedTuple):
    """A value of a request, in clear or sealed."""

    user_id: str
    field: str
    value: bytes


Results = list[bytes | Refusal]
"""What became of each item, in their order."""


class FieldCrypto:
    """Works on values that the service does not keep."""

    def __init__(
        self,
        transactions: Transactions,
        config: ConfigStore,
        cipher: FieldCipher,
        user_keys: UserKeyring,
        audit: Audit,
    ) -> None:
        self._transactions = transactions
        self._config = config
        self._cipher = cipher
        self._user_keys = user_keys
        self._audit = audit

    async def encrypt(self, tenant: str, table: str, items: Sequence[Item]) -> Results:
        """Seal values. Raises EncryptionDisabled, KeyDisabled, DependencyUnavailable."""
        journal = Journal(self._audit, tenant, Operation.ENCRYPT)
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
            settings = await self._config.settings(connection, tenant)
        async with journal.refusals(_users(items), _asked(items, fields)):
            if settings.get(ENCRYPTION_ENABLED) == "false":
                raise EncryptionDisabled(items[0].field)
            keys = await self._user_keys.ensure(tenant, _users(items))
            plains, results = _plains(items, fields, keys)
            blobs = await self._cipher.seal(tenant, table, list(plains.values()), keys)
            for at, blob in zip(plains, blobs, strict=True):
                results[at] = blob
        await journal.record_all(_told(items, fields, results, results))
        return results

    async def decrypt(
        self, tenant: str, table: str, purpose: str, items: Sequence[Item]
    ) -> Results:
        """Open values, and give them once the audit holds who got which.

        Raises PermissionMissing, PurposeRefused, KeyDisabled, DependencyUnavailable.
        """
        journal = Journal(self._audit, tenant, Operation.DECRYPT, purpose)
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
            allowed = await self._config.purpose(connection, tenant, purpose)
        async with journal.refusals(_users(items), _asked(items, fields)):
            wanted = [
                field
                for name in sorted({each.field for each in items})
                if (field := fields.find(name)) is not None
            ]
            permit(wanted, purpose, allowed.fields if allowed else ())
            sealed, results = _sealed(items, fields)
            opened = await self._cipher.open(tenant, table, list(sealed.values()))
        for at, value in zip(sealed, opened, strict=True):
            results[at] = value
        await journal.record_all(_told(items, fields, results, [each.value for each in items]))
        return results

    async def rewrap(self, tenant: str, table: str, items: Sequence[Item]) -> Results:
        """Seal values again by the users' keys of now. KeyDisabled, DependencyUnavailable."""
        journal = Journal(self._audit, tenant, Operation.REWRAP)
        async with self._transactions.connection(tenant) as connection:
            fields = await self._config.fields(connection, tenant)
        async with journal.refusals(_users(items), _asked(items, fields)):
            sealed, results = _sealed(items, fields)
            wrapped = await self._cipher.rewrap(tenant, table, list(sealed.values()))
        for at, value in zip(sealed, wrapped, strict=True):
            results[at] = value
        await journal.record_all(_told(items, fields, results, [each.value for each in items]))
        return results


def _plains(
    items: Sequence[Item], fields: PersonFields, keys: Container[str]
) -> tuple[dict[int, Plain], Results]:
    """Give the values that can be sealed, by their places, and refusals in the other places."""
    rules = {
        name: field.rule
        for name in {each.field for each in items}
        if (field := fields.find(name)) is not None and field.sealed
    }
    plains: dict[int, Plain] = {}
    results: Results = [b""] * len(items)
    for at, (user_id, name, value) in enumerate(items):
        rule = rules.get(name)
        if rule is None:
            results[at] = FieldNotSealed(name)
        elif user_id not in keys:
            results[at] = KeyDisabled("user")
        else:
            plains[at] = Plain(user_id, rule, value)
    return plains, results


def _sealed(items: Sequence[Item], fields: PersonFields) -> tuple[dict[int, Sealed], Results]:
    """Give the values that may open, by their places, and refusals in the other places."""
    rules = {
        name: field.rule
        for name in {each.field for each in items}
        if (field := fields.find(name)) is not None
    }
    sealed: dict[int, Sealed] = {}
    results: Results = [b""] * len(items)
    for at, (user_id, name, value) in enumerate(items):
        rule = rules.get(name)
        if rule is None:
            # Nobody is told more than of any other value that does not open.
            results[at] = ValueUnopenable()
        else:
            sealed[at] = Sealed(user_id, rule, value)
    return sealed, results


def _users(items: Iterable[Item]) -> list[str]:
    return sorted({each.user_id for each in items})


def _asked(items: Iterable[Item], fields: PersonFields) -> Touched:
    return tuple(
        (name, _tier(fields.find(name))) for name in sorted({each.field for each in items})
    )


def _tier(field: PersonField | None) -> int:
    return int(Tier.CLEAR if field is None else field.tier)


def _told(
    items: Sequence[Item],
    fields: PersonFields,
    results: Results,
    blobs: Iterable[bytes | Refusal],
) -> list[tuple[str, Touched, str]]:
    """Give an entry for each user, and one more for each reason of a refusal.

    ``blobs`` are the sealed values, whichever side of the operation they stand on.
    """
    entries: dict[tuple[str, str], dict[str, int]] = {}
    for item, result, blob in zip(items, results, blobs, strict=True):
        code = result.reason.name if isinstance(result, Refusal) else ""
        tier = _tier(fields.find(item.field)) if code else _tier_of(blob)
        entries.setdefault((item.user_id, code), {})[item.field] = tier
    return [
        (user, tuple(sorted(touched.items())), code) for (user, code), touched in entries.items()
    ]


def _tier_of(blob: bytes | Refusal) -> int:
    return int(read_header(blob).tier if isinstance(blob, bytes) else Tier.CLEAR)
