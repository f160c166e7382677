"""Values sealed, opened and sealed again for those who keep them; each use is in the audit."""

from collections.abc import Container, Iterable, Sequence

from mesh.errors import Refusal
from services.crypto.audit.entry import Audit, Operation
from services.crypto.errors import FieldNotSealed, KeyDisabled, ValueUnopenable
from services.crypto.field_cipher import FieldCipher, Plain, Sealed
from services.crypto.keys.keyring import UserKeyring
from services.crypto.persons.decided import DecidedStore
from services.crypto.persons.fields import PersonField, PersonFields
from services.crypto.persons.journal import Journal, Touched
from services.crypto.persons.refusals import EncryptionDisabled
from services.crypto.persons.unmasking import permit
from services.crypto.suite.header import TIER_AT, Tier

ENCRYPTION_ENABLED = "encryption_enabled"


Item = tuple[str, str, bytes]
"""A value of a request, in clear or sealed, after its user and its field."""
Results = list[bytes | Refusal]
"""What became of each item, in their order."""


class FieldCrypto:
    """Works on values that the service does not keep."""

    def __init__(
        self,
        decided: DecidedStore,
        cipher: FieldCipher,
        user_keys: UserKeyring,
        audit: Audit,
    ) -> None:
        self._decided = decided
        self._cipher = cipher
        self._user_keys = user_keys
        self._audit = audit

    async def encrypt(self, tenant: str, table: str, items: Sequence[Item]) -> Results:
        """Seal values. Raises EncryptionDisabled, KeyDisabled, DependencyUnavailable."""
        journal = Journal(self._audit, tenant, Operation.ENCRYPT)
        fields, settings, _ = await self._decided.read(tenant)
        async with journal.refusals(_users(items), _asked(items, fields)):
            if settings.get(ENCRYPTION_ENABLED) == "false":
                raise EncryptionDisabled(items[0][1])
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
        fields, _, covered = await self._decided.read(tenant, purpose)
        async with journal.refusals(_users(items), _asked(items, fields)):
            wanted = [field for name in _names(items) if (field := fields.find(name)) is not None]
            permit(wanted, purpose, covered)
            sealed, results = _sealed(items, fields)
            opened = await self._cipher.open(tenant, table, list(sealed.values()))
        for at, value in zip(sealed, opened, strict=True):
            results[at] = value
        await journal.record_all(_told(items, fields, results, [value for _, _, value in items]))
        return results

    async def rewrap(self, tenant: str, table: str, items: Sequence[Item]) -> Results:
        """Seal values again by the users' keys of now. KeyDisabled, DependencyUnavailable."""
        journal = Journal(self._audit, tenant, Operation.REWRAP)
        fields, _, _ = await self._decided.read(tenant)
        async with journal.refusals(_users(items), _asked(items, fields)):
            sealed, results = _sealed(items, fields)
            wrapped = await self._cipher.rewrap(tenant, table, list(sealed.values()))
        for at, value in zip(sealed, wrapped, strict=True):
            results[at] = value
        await journal.record_all(_told(items, fields, results, [value for _, _, value in items]))
        return results


def _plains(
    items: Sequence[Item], fields: PersonFields, keys: Container[str]
) -> tuple[dict[int, Plain], Results]:
    """Give the values that can be sealed, by their places, and refusals in the other places."""
    rules = {
        name: field.rule
        for name in _names(items)
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
    rules = {name: field.rule for name in _names(items) if (field := fields.find(name)) is not None}
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
    return sorted({user for user, _, _ in items})


def _names(items: Iterable[Item]) -> list[str]:
    return sorted({name for _, name, _ in items})


def _asked(items: Iterable[Item], fields: PersonFields) -> Touched:
    return tuple((name, _tier(fields.find(name))) for name in _names(items))


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
    done: dict[str, dict[str, int]] = {user: {} for user, _, _ in items}
    refused: dict[tuple[str, str], dict[str, int]] = {}
    for (user, name, _), result, blob in zip(items, results, blobs, strict=True):
        if isinstance(result, Refusal):
            of_reason = refused.setdefault((user, result.reason.name), {})
            of_reason[name] = _tier(fields.find(name))
        else:
            # What opened or was sealed just now has a header that is whole.
            done[user][name] = blob[TIER_AT]  # type: ignore[index]  # no refusal either then
    return [
        *((user, tuple(sorted(touched.items())), "") for user, touched in done.items() if touched),
        *((user, tuple(sorted(named.items())), code) for (user, code), named in refused.items()),
    ]
