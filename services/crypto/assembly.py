"""Puts the parts of the service together: custodians, keys, persons."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.server.deployable import CommandFailed
from mesh.sql.paging import PageTokens
from mesh.sql.transactions import Transactions
from mesh.tls import KeyPair, client_credentials
from secmesh.crypto.v1 import (
    audit_service_pb2_grpc,
    config_service_pb2_grpc,
    field_crypto_service_pb2_grpc,
    tenant_removal_service_pb2_grpc,
    user_service_pb2_grpc,
)
from services.crypto.audit.entry import Audit
from services.crypto.audit.subjects import Subjects
from services.crypto.audit_servicer import AuditServicer
from services.crypto.config_servicer import ConfigServicer
from services.crypto.custody.app_key import AppKeyCustodian
from services.crypto.custody.file_kms import FileKms
from services.crypto.custody.guarded_kms import GuardedKms
from services.crypto.custody.key_file import KeyFile, KeyFileError, create_key_file
from services.crypto.custody.kms import Kms, KmsError
from services.crypto.custody.local_app_keys import LocalAppKeys, version_name
from services.crypto.custody.remote_app_keys import RemoteAppKeys
from services.crypto.custody.standing import KmsStanding
from services.crypto.custody.two_parties import OnePartyHoldsBoth, require_two_parties
from services.crypto.erasure.erasing import Erasing, Registry
from services.crypto.erasure.tenant_removal import TenantShredding
from services.crypto.export.exporting import Exporting
from services.crypto.field_cipher import FieldCipher
from services.crypto.field_crypto import FieldCrypto
from services.crypto.field_crypto_servicer import FieldCryptoServicer
from services.crypto.keys.app_key_versions import AppKeyVersions
from services.crypto.keys.field_keys import FieldKeys
from services.crypto.keys.hierarchy import UserKeys
from services.crypto.keys.key_store import KeyStore
from services.crypto.keys.tenant_keys import TenantKeys
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.decided import DecidedStore
from services.crypto.persons.decisions import Decisions
from services.crypto.persons.import_store import ImportStore
from services.crypto.persons.importing import Importing
from services.crypto.persons.people import People
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.raising import TierRaising
from services.crypto.persons.reading import Reading
from services.crypto.persons.sealing import PersonSealer
from services.crypto.settings import CryptoSettings
from services.crypto.tenant_removal_servicer import TenantRemovalServicer
from services.crypto.user_servicer import UserServicer

_FILE = "file:"
_FIRST_APP_KEY = 1


@dataclass(frozen=True)
class Custody:
    """Who keeps the keys that all others hang from."""

    kms: Kms
    app_key: AppKeyCustodian

    async def close(self) -> None:
        """Let go of what they hold."""
        await self.kms.close()
        await self.app_key.close()


def create_app_keys(path: Path) -> bool:
    """Make a file with the first app key; False, and nothing is changed, if it is there."""
    return create_key_file(path, [version_name(_FIRST_APP_KEY)])


async def open_custody(settings: CryptoSettings) -> Custody:
    """Open the custodians that the settings name; files that they do not name are made.

    Raises CommandFailed for files that cannot be used, and in production if one party holds both.
    """
    try:
        custody = Custody(GuardedKms(_kms(settings)), _app_keys(settings))
        if settings.in_production:
            await require_two_parties(custody.kms, settings.kms_key_id, custody.app_key)
    except (KeyFileError, KmsError, OnePartyHoldsBoth) as error:
        raise CommandFailed(str(error)) from error
    return custody


def _app_keys(settings: CryptoSettings) -> AppKeyCustodian:
    if settings.sealer_socket is not None:
        credentials = None
        if settings.sealer_ca is not None:
            certificate, key = settings.tls_certificate, settings.tls_key
            own = KeyPair(certificate, key) if certificate and key else None
            credentials = client_credentials(settings.sealer_ca, own)
        return RemoteAppKeys(settings.sealer_socket, settings.environment, credentials)
    if settings.app_key_secret:
        from services.crypto.custody.aws_app_keys import AwsSecretKeys

        secret = AwsSecretKeys(settings.app_key_secret, settings.aws_region, settings.aws_endpoint)
        secret.keys()
        return LocalAppKeys(secret)
    if settings.app_keys is None:
        create_app_keys(settings.app_key_file)
    file = KeyFile(settings.app_key_file)
    file.keys()
    return LocalAppKeys(file)


def _kms(settings: CryptoSettings) -> Kms:
    name = settings.kms_key_id.removeprefix(_FILE)
    if name == settings.kms_key_id:
        # boto3 takes a tenth of a second to load.
        from services.crypto.custody.aws_kms import AwsKms

        return AwsKms(settings.aws_region, settings.aws_endpoint)
    if settings.kms_keys is None:
        create_key_file(settings.kms_file, [name])
    return FileKms(settings.kms_file)


@dataclass(frozen=True)
class Keys:
    """The keys between the custodians and the values."""

    tenants: TenantKeys
    users: UserKeys
    fields: FieldKeys
    app: AppKeyVersions
    standing: KmsStanding

    def forget(self, tenant: str | None) -> None:
        """Forget a tenant's keys, those of all tenants if None: the next calls read them again."""
        if tenant is None:
            self.fields.revoke()
            for each in (self.tenants, self.users, self.app):
                each.forget_all()
            return
        for keys in (self.tenants, self.users, self.fields, self.app):
            keys.forget(tenant)

    def revoke(self, kms_key_id: str) -> None:
        """Forget all that a KMS key wraps."""
        self.tenants.revoke(kms_key_id)
        self.fields.revoke()

    async def close(self) -> None:
        """Forget all of them."""
        await self.standing.close()
        await self.tenants.close()
        await self.fields.close()
        await self.app.close()


def open_keys(settings: CryptoSettings, custody: Custody, transactions: Transactions) -> Keys:
    """Give the keys of a database."""
    store = KeyStore(transactions)
    # A file is looked at in microseconds: before each call.
    seconds = 0 if settings.kms_key_id.startswith(_FILE) else settings.kms_state_seconds
    standing = KmsStanding(custody.kms, lambda kms_key_id: keys.revoke(kms_key_id), seconds)
    where = (settings.environment, custody.kms, settings.kms_key_id, store)
    tenants = TenantKeys(*where, standing=standing)
    keys = Keys(
        tenants,
        UserKeys(settings.environment, tenants, store),
        FieldKeys(*where, standing=standing),
        AppKeyVersions(store),
        standing,
    )
    return keys


def servicers(
    settings: CryptoSettings,
    custody: Custody,
    keys: Keys,
    transactions: Transactions,
    audit: Audit,
    tokens: PageTokens,
    registry: Registry,
    draining: asyncio.Event,
) -> Sequence[tuple[Any, Any]]:
    """Give the servicers, each with the function that adds it to a server.

    When ``draining`` is set long streams end themselves.
    """
    cipher = FieldCipher(settings.environment, keys.users, keys.app, custody.app_key)
    persons, config = PersonStore(), ConfigStore()
    sealer = PersonSealer(cipher, keys.users, keys.fields)
    people = People(transactions, persons, config, sealer, audit)
    raising = TierRaising(transactions, persons, config, cipher, sealer, audit)
    importing = Importing(transactions, persons, ImportStore(), config, sealer, audit)
    erasing = Erasing(transactions, persons, keys.users.forget, audit, registry)
    exporting = Exporting(
        transactions, persons, config, cipher, audit, registry.subjects, registry.signer
    )
    shredding = TenantShredding(transactions, erasing, audit, keys.forget, registry.backups)
    reading = Reading(transactions, persons, config, cipher, keys.fields, audit)
    return [
        (
            user_service_pb2_grpc.add_UserServiceServicer_to_server,
            UserServicer(people, reading, importing, erasing, exporting, tokens, draining),
        ),
        (
            config_service_pb2_grpc.add_ConfigServiceServicer_to_server,
            ConfigServicer(Decisions(transactions, config, audit), raising, tokens),
        ),
        (
            tenant_removal_service_pb2_grpc.add_TenantRemovalServiceServicer_to_server,
            TenantRemovalServicer(shredding),
        ),
        (
            field_crypto_service_pb2_grpc.add_FieldCryptoServiceServicer_to_server,
            FieldCryptoServicer(FieldCrypto(DecidedStore(transactions), cipher, keys.users, audit)),
        ),
    ]


def audit_servicer(
    transactions: Transactions, subjects: Subjects, audit: Audit, tokens: PageTokens
) -> tuple[Any, Any]:
    """Give the servicer of the audit with the function that adds it to a server."""
    servicer = AuditServicer(transactions, subjects, audit, tokens)
    return audit_service_pb2_grpc.add_AuditServiceServicer_to_server, servicer
