"""The secrets of accounts in Secrets Manager: their names, stages and values."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mesh.errors import RequestIdReused, ResourceExists
from services.tenancy.credentials.cache import SecretCache
from services.tenancy.credentials.credential_store import Found, name_of
from services.tenancy.credentials.errors import secrets_refusal
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.credentials.secrets import (
    SecretExists,
    SecretFacts,
    SecretMissing,
    SecretPendingDeletion,
    SecretRejected,
    Secrets,
    SecretsError,
    Stage,
)
from services.tenancy.credentials.versions import (
    LIVE,
    PENDING,
    find,
    in_state,
    stage_of,
)

DELETION_DAYS = 30
"""As accounts are kept."""
_OF_AWS = frozenset({str(Stage.CURRENT), str(Stage.PREVIOUS)})
"""Stages that Secrets Manager itself never leaves without a version."""
_LOG = logging.getLogger(__name__)
_TENANT_TAG, _ACCOUNT_TAG = "tenant_id", "account_id"


@dataclass(frozen=True)
class SecretRoom:
    """Keeps each credential in the secret ``PREFIX/account/ACCOUNT_ID``.

    Every version has a stage of its own (``v7``) by which it is read: which of them is current
    is said by the credential's item alone. AWSCURRENT follows it, for whoever else reads.
    Nothing is done with a secret whose tags name another account or tenant, whatever items
    say: it is as one that there is none of. Failures are told as refusals.
    """

    secrets: Secrets
    cache: SecretCache
    prefix: str

    async def create(self, found: Found, number: int, version_id: str, secret: SecretText) -> None:
        """Store a first version; the same again does nothing.

        Raises RequestIdReused if the version's id stands for another secret.
        """
        name, text = self._name(found.account_id), secret.text()
        tags = _tags(found.scope.tenant, found.account_id)
        try:
            try:
                await self.secrets.create(name, text, version_id=version_id, tags=tags)
            except SecretExists:
                # Of a call that broke off, or of an account whose credential was forgotten.
                await self._require_free(name, found)
                await self._put(name, text, version_id, [Stage.CURRENT])
            facts = await self.secrets.describe(name)
            await self._move(name, facts, stage_of(number), version_id)
            await self._move(name, facts, Stage.CURRENT, version_id)
        except SecretsError as error:
            raise secrets_refusal(error, found.name) from error

    async def add(self, found: Found, number: int, version_id: str, secret: SecretText) -> None:
        """Store a further version as pending; the same again does nothing. RequestIdReused."""
        name = self._name(found.account_id)
        try:
            await self._require_own(found.scope.tenant, found.account_id)
            await self._put(name, secret.text(), version_id, [Stage.PENDING, stage_of(number)])
        except SecretsError as error:
            raise secrets_refusal(error, found.name) from error

    async def read(self, found: Found, number: int, version_id: str) -> SecretText:
        """Give a version, from memory if it was read a moment ago."""
        name = self._name(found.account_id)

        async def fetch() -> SecretText:
            await self._require_own(found.scope.tenant, found.account_id)
            value = await self.secrets.get(name, stage_of(number))
            if value.version_id != version_id:
                raise SecretMissing("another version has the stage")
            try:
                return SecretText.read(value.value)
            except ValueError as error:
                raise SecretRejected(str(error)) from None

        try:
            key = found.scope.tenant, found.account_id, version_id
            return await self.cache.get(key, fetch)
        except SecretsError as error:
            raise secrets_refusal(error, found.name) from error

    async def settle(self, found: Found) -> None:
        """Have the stages follow the credential, wherever a call that broke off left them.

        AWSCURRENT is at the current version, AWSPENDING at none but a pending one, and only
        versions that are listed and can be used, or are pending, have stages of their own.
        """
        name, credential = self._name(found.account_id), found.usable()
        current = find(credential, credential.current_version)
        kept = {stage_of(each.version) for each in credential.versions if each.state in LIVE}
        if in_state(credential, PENDING):
            kept.add(str(Stage.PENDING))
        try:
            facts = await self.secrets.describe(name)
            if not _is_own(facts.tags, found.scope.tenant, found.account_id):
                raise SecretMissing
            if current is not None:
                await self._move(name, facts, Stage.CURRENT, current.version_id)
            for version in facts.versions:
                for stage in sorted(version.stages - kept - _OF_AWS):
                    # Another process may have done it meanwhile.
                    with suppress(SecretRejected, SecretMissing):
                        await self.secrets.move(name, stage, away=version.version_id)
        except SecretsError as error:
            raise secrets_refusal(error, found.name) from error

    async def delete(self, tenant: str, account_id: str) -> None:
        """Delete in 30 days; what is deleted or was never there is left alone."""
        self.cache.drop(tenant, account_id)
        try:
            with suppress(SecretMissing, SecretPendingDeletion):
                await self._require_own(tenant, account_id)
                await self.secrets.delete(self._name(account_id), days=DELETION_DAYS)
        except SecretsError as error:
            raise secrets_refusal(error, name_of(tenant, account_id)) from error

    async def restore(self, tenant: str, account_id: str) -> bool:
        """Take a deletion back; tells whether there is a secret."""
        self.cache.drop(tenant, account_id)
        try:
            await self._require_own(tenant, account_id)
            await self.secrets.restore(self._name(account_id))
        except SecretMissing:
            return False
        except SecretsError as error:
            raise secrets_refusal(error, name_of(tenant, account_id)) from error
        return True

    def _name(self, account_id: str) -> str:
        return f"{self.prefix}/account/{account_id}"

    async def _put(self, name: str, text: str, version_id: str, stages: list[str]) -> None:
        try:
            await self.secrets.put(name, text, version_id=version_id, stages=stages)
        except SecretExists:
            raise RequestIdReused from None

    async def _move(self, name: str, facts: SecretFacts, stage: str, version_id: str) -> None:
        holder = _holder(facts, stage)
        if holder == version_id:
            return
        try:
            await self.secrets.move(name, stage, to=version_id, away=holder)
        except SecretRejected:
            # It was moved meanwhile: by a try whose answer was lost, or by another process.
            if _holder(await self.secrets.describe(name), stage) != version_id:
                raise

    async def _require_free(self, name: str, found: Found) -> None:
        tags = await self.secrets.tags(name)
        if not _is_own(tags, found.scope.tenant, found.account_id):
            raise ResourceExists(found.name)

    async def _require_own(self, tenant: str, account_id: str) -> None:
        tags = await self.secrets.tags(self._name(account_id))
        if not _is_own(tags, tenant, account_id):
            _LOG.error("the secret of tenants/%s/accounts/%s is another's", tenant, account_id)
            raise SecretMissing


def _tags(tenant: str, account_id: str) -> Mapping[str, str]:
    return {_TENANT_TAG: tenant, _ACCOUNT_TAG: account_id}


def _is_own(tags: Mapping[str, str], tenant: str, account_id: str) -> bool:
    return _tags(tenant, account_id).items() <= tags.items()


def _holder(facts: SecretFacts, stage: str) -> str:
    """Give the id of the version at a stage; "" for none."""
    return next((each.version_id for each in facts.versions if stage in each.stages), "")
