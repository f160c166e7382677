"""Many values of many users sealed, opened and rewrapped at once: keys, layers and custodians."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.crypto.custody.app_key import AppKeyCustodian
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.keys.keyring import AppKeyring, UserKeyring
from services.crypto.suite.cobblestone import random_bytes
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import (
    FieldRule,
    InnerValue,
    UserKey,
    inner_of_blob,
    inner_of_plaintext,
    open_outer,
    plaintext_of,
    read_field_header,
    seal_again,
    seal_around,
    seal_field,
)
from services.crypto.suite.header import HEADER_BYTES, Header, Suite, Tier

_DOUBLE, _NESTED = Tier.DOUBLE, Suite.NESTED


class Plain(NamedTuple):
    """A value to seal."""

    user_id: str
    rule: FieldRule
    plaintext: bytes


class Sealed(NamedTuple):
    """A value to open or rewrap."""

    user_id: str
    rule: FieldRule
    blob: bytes


class FieldCipher:
    """Seals and opens values of one environment."""

    def __init__(
        self,
        environment: str,
        keys: UserKeyring,
        app_versions: AppKeyring,
        custodian: AppKeyCustodian,
    ) -> None:
        self._environment = environment
        self._keys = keys
        self._app_versions = app_versions
        self._custodian = custodian

    async def seal(
        self, tenant: str, table: str, values: Sequence[Plain], keys: Mapping[str, UserKey]
    ) -> list[bytes]:
        """Seal values by keys of ``UserKeyring.current``, ``create`` or ``ensure``.

        Raises KeyError for a user without a key, and what the custodian raises.
        """
        subjects = self._subjects(tenant, table, values)
        random = random_bytes(len(values))
        blobs: list[bytes] = []
        doubles: list[int] = []
        for at, (user, rule, plaintext) in enumerate(values):
            if rule.tier is _DOUBLE:
                doubles.append(at)
                blobs.append(b"")
            else:
                key, subject = keys[user], subjects[user]
                blobs.append(seal_field(key, subject, rule, plaintext, next(random)))
        if doubles:
            inner = await self._inner(tenant, subjects, [values[at] for at in doubles])
            layers = await self._custodian.seal(tenant, inner)
            for at, value, layer in zip(doubles, inner, layers, strict=True):
                blobs[at] = seal_around(keys[values[at].user_id], value, layer, next(random))
        return blobs

    async def _inner(
        self, tenant: str, subjects: Mapping[str, Subject], values: Sequence[Plain]
    ) -> list[InnerValue]:
        """Give what the app key's custodian seals; KeyDisabled."""
        version = await self._app_versions.current(tenant)
        if version is None:
            raise KeyDisabled("app")
        return [
            inner_of_plaintext(version, subjects[user], rule, plaintext)
            for user, rule, plaintext in values
        ]

    async def open(
        self, tenant: str, table: str, values: Sequence[Sealed]
    ) -> list[bytes | ValueUnopenable]:
        """Open values, each by itself; raises only what concerns all: a custodian's refusal."""
        headers = _headers(values)
        keys = await self._keys_of(tenant, values, headers)
        subjects = self._subjects(tenant, table, values)
        results: list[bytes | ValueUnopenable] = []
        doubles: list[tuple[int, Header, InnerValue]] = []
        for at, (value, header) in enumerate(zip(values, headers, strict=True)):
            user, rule, blob = value
            key = keys.get((user, header.key_version)) if header is not None else None
            if header is None or key is None:
                results.append(ValueUnopenable())
                continue
            try:
                layer = open_outer(key, subjects[user], rule, blob)
                if header.suite is _NESTED:
                    doubles.append((at, header, inner_of_blob(subjects[user], rule, header, layer)))
                    results.append(b"")
                else:
                    results.append(plaintext_of(header, layer))
            except ValueUnopenable as error:
                # What a traceback leads to must not live on.
                results.append(error.with_traceback(None))
        if doubles:
            bodies = await self._open_inner(tenant, [each for _, _, each in doubles])
            for (at, header, _), body in zip(doubles, bodies, strict=True):
                results[at] = ValueUnopenable() if body is None else _plaintext(header, body)
        return results

    async def _open_inner(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes | None]:
        """Open inner layers by the versions of the app key that may open."""
        wanted = {each.header.app_key_version for each in values}
        opening = await self._app_versions.opening(tenant, wanted)
        asked = [each for each in values if each.header.app_key_version in opening]
        opened = iter(await self._custodian.open(tenant, asked) if asked else ())
        return [next(opened) if each.header.app_key_version in opening else None for each in values]

    async def rewrap(
        self, tenant: str, table: str, values: Sequence[Sealed]
    ) -> list[bytes | ValueUnopenable]:
        """Seal the outer layer again by the users' keys of now; inner layers stay closed.

        What is sealed by them already is checked, and given back as it is.
        """
        headers = _headers(values)
        keys = await self._keys_of(tenant, values, headers)
        current = await self._keys.current(tenant, {each.user_id for each in values})
        subjects = self._subjects(tenant, table, values)
        results: list[bytes | ValueUnopenable] = []
        for value, header in zip(values, headers, strict=True):
            subject, new = subjects[value.user_id], current.get(value.user_id)
            layer = _outer(value, header, keys, subject)
            if header is None or new is None or isinstance(layer, ValueUnopenable):
                results.append(ValueUnopenable())
            elif header.key_version == new.version:
                results.append(value.blob)
            else:
                results.append(seal_again(new, subject, value.rule, header, layer))
        return results

    async def _keys_of(
        self, tenant: str, values: Sequence[Sealed], headers: Sequence[Header | None]
    ) -> Mapping[tuple[str, int], UserKey]:
        wanted = {
            (value.user_id, header.key_version)
            for value, header in zip(values, headers, strict=True)
            if header is not None
        }
        return await self._keys.versions(tenant, wanted)

    def _subjects(
        self, tenant: str, table: str, values: Sequence[Plain] | Sequence[Sealed]
    ) -> dict[str, Subject]:
        users = {each.user_id for each in values}
        return {user: Subject(self._environment, tenant, user, table) for user in users}


def _headers(values: Sequence[Sealed]) -> list[Header | None]:
    """Read the headers, None for those that cannot open; each that many share once."""
    known: dict[tuple[str, bytes], Header | None] = {}
    headers = []
    for _, rule, blob in values:
        shared = rule.name, blob[:HEADER_BYTES]
        if shared not in known:
            known[shared] = _header(rule, blob)
        headers.append(known[shared])
    return headers


def _header(rule: FieldRule, blob: bytes) -> Header | None:
    try:
        return read_field_header(rule, blob)
    except ValueUnopenable:
        return None


def _outer(
    value: Sealed,
    header: Header | None,
    keys: Mapping[tuple[str, int], UserKey],
    subject: Subject,
) -> bytes | ValueUnopenable:
    key = keys.get((value.user_id, header.key_version)) if header is not None else None
    if key is None:
        return ValueUnopenable()
    try:
        return open_outer(key, subject, value.rule, value.blob)
    except ValueUnopenable as error:
        # What a traceback leads to must not live on.
        return error.with_traceback(None)


def _plaintext(header: Header, body: bytes) -> bytes | ValueUnopenable:
    try:
        return plaintext_of(header, body)
    except ValueUnopenable as error:
        return error.with_traceback(None)
