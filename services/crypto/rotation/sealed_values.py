"""Stored values sealed anew by other versions of keys; each is read back before it counts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.errors import ValueUnopenable
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.sealing import TABLE
from services.crypto.rotation.procedure import ReadBackFailed
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import (
    FieldRule,
    UserKey,
    open_outer,
    read_field_header,
    seal_again,
)
from services.crypto.suite.header import Header


class StoredValue(NamedTuple):
    """A sealed value of a person."""

    user_id: str
    rule: FieldRule
    blob: bytes
    header: Header | None
    """None if it has none that is whole."""


class Resealed(NamedTuple):
    """A value with what takes its place."""

    value: StoredValue
    blob: bytes
    layer: bytes
    """What the user's layer is around: what is read back must be the same."""


class SealedValues:
    """Reads, seals anew and writes back the values of persons."""

    def __init__(self, environment: str, persons: PersonStore, config: ConfigStore) -> None:
        self._environment = environment
        self._persons = persons
        self._config = config

    async def of(
        self, connection: AsyncConnection, tenant: str, users: Sequence[str], *, lock: bool
    ) -> list[StoredValue]:
        """Give the sealed values of persons, locked until the transaction's end if wanted."""
        fields = await self._config.fields(connection, tenant)
        people = await self._persons.get(connection, tenant, users, for_update=lock)
        values = []
        for user, person in people.items():
            for name, blob in person.values.items():
                if isinstance(blob, bytes):
                    rule = fields[name].rule
                    values.append(StoredValue(user, rule, blob, _header(rule, blob)))
        return values

    def outer(self, tenant: str, value: StoredValue, key: UserKey | None) -> bytes | None:
        """Open the user's layer; None for what does not open."""
        if key is None or value.header is None:
            return None
        try:
            return open_outer(key, self.subject(tenant, value.user_id), value.rule, value.blob)
        except ValueUnopenable:
            return None

    def reseal(
        self, tenant: str, value: StoredValue, layer: bytes, header: Header, key: UserKey
    ) -> Resealed:
        """Seal the user's layer around what is in it, an inner layer as it is."""
        subject = self.subject(tenant, value.user_id)
        return Resealed(value, seal_again(key, subject, value.rule, header, layer), layer)

    async def write(
        self,
        connection: AsyncConnection,
        tenant: str,
        changes: Sequence[Resealed],
        keys: Mapping[str, UserKey],
    ) -> int:
        """Write values in the place of those that are still the same; give how many were.

        Raises ReadBackFailed if what stands then does not open to what it was made of.
        """
        by_user: dict[str, dict[str, Resealed]] = {}
        for each in changes:
            by_user.setdefault(each.value.user_id, {})[each.value.rule.name] = each
        count = 0
        for user, fields in by_user.items():
            pairs = {name: (each.value.blob, each.blob) for name, each in fields.items()}
            stored = await self._persons.replace_sealed(connection, tenant, user, pairs)
            count += len(stored)
            for name, blob in stored.items():
                value = fields[name].value._replace(blob=blob)
                if self.outer(tenant, value, keys[user]) != fields[name].layer:
                    raise ReadBackFailed("a value does not open by the new version")
        return count

    def subject(self, tenant: str, user_id: str) -> Subject:
        """Give whose value it is, as its contexts know it."""
        return Subject(self._environment, tenant, user_id, TABLE)


def _header(rule: FieldRule, blob: bytes) -> Header | None:
    try:
        return read_field_header(rule, blob)
    except ValueUnopenable:
        return None
