"""Turns the values of persons into what is stored: sealed as their tiers say, and indexed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.crypto.errors import KeyDisabled
from services.crypto.field_cipher import FieldCipher, Plain
from services.crypto.keys.keyring import FieldKeyring, UserKeyring
from services.crypto.persons.fields import PersonFields
from services.crypto.persons.person import IndexEntry, Value, entry_of
from services.crypto.persons.values import normal_form
from services.crypto.suite.blind_index import IndexKey, bits_for

TABLE = "users"
"""The table that sealed values are bound to, wherever they lie."""


@dataclass(frozen=True)
class Stored:
    """What is written of one person."""

    values: dict[str, Value | None] = field(default_factory=dict, repr=False)
    entries: list[IndexEntry] = field(default_factory=list)


class PersonSealer:
    """Seals values and makes the entries of their blind indexes."""

    def __init__(
        self, cipher: FieldCipher, user_keys: UserKeyring, field_keys: FieldKeyring
    ) -> None:
        self._cipher = cipher
        self._user_keys = user_keys
        self._field_keys = field_keys

    async def seal(
        self,
        tenant: str,
        fields: PersonFields,
        people: Mapping[str, Mapping[str, str | None]],
    ) -> dict[str, Stored]:
        """Give what is stored of each person, by id; makes the keys of new ones at once.

        Outside of transactions: no row and no connection waits for a custodian of keys.
        Raises KeyDisabled for a person whose key may not seal.
        """
        index_keys = await self._index_keys(tenant, fields, people.values())
        stored = {user: Stored() for user in people}
        plains: list[Plain] = []
        for user, values in people.items():
            for name, value in values.items():
                if value is None or not fields[name].sealed:
                    stored[user].values[name] = value
                    continue
                plains.append(Plain(user, fields[name].rule, value.encode()))
                if fields[name].has_blind_index:
                    entry = _entry(tenant, fields, index_keys[name], name, value)
                    stored[user].entries.append(entry)
        if plains:
            users = {each.user_id for each in plains}
            keys = await self._user_keys.ensure(tenant, users)
            if users - keys.keys():
                raise KeyDisabled("user")
            blobs = await self._cipher.seal(tenant, TABLE, plains, keys)
            for plain, blob in zip(plains, blobs, strict=True):
                stored[plain.user_id].values[plain.rule.name] = blob
        return stored

    async def _index_keys(
        self, tenant: str, fields: PersonFields, people: Iterable[Mapping[str, str | None]]
    ) -> dict[str, IndexKey]:
        """Give the keys that index now what is to be indexed."""
        given = {name for values in people for name, value in values.items() if value is not None}
        return {
            name: await self._field_keys.index_key(tenant, name)
            for name in given
            if fields[name].has_blind_index
        }


def _entry(tenant: str, fields: PersonFields, key: IndexKey, name: str, value: str) -> IndexEntry:
    bits = bits_for(fields[name].possible_values)
    return entry_of(tenant, name, key, normal_form(fields[name], value), bits)
