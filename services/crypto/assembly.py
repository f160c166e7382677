"""Puts the parts of the service together: custodians, keys, persons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mesh.sql.paging import PageTokens
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import config_service_pb2_grpc, user_service_pb2_grpc
from services.crypto.audit.entry import Audit
from services.crypto.config_servicer import ConfigServicer
from services.crypto.custody.app_key import AppKeyCustodian
from services.crypto.custody.file_kms import FileKms
from services.crypto.custody.guarded_kms import GuardedKms
from services.crypto.custody.key_file import KeyFile, create_key_file
from services.crypto.custody.kms import Kms
from services.crypto.custody.local_app_keys import LocalAppKeys, version_name
from services.crypto.field_cipher import FieldCipher
from services.crypto.keys.app_key_versions import AppKeyVersions
from services.crypto.keys.field_keys import FieldKeys
from services.crypto.keys.hierarchy import UserKeys
from services.crypto.keys.key_store import KeyStore
from services.crypto.keys.tenant_keys import TenantKeys
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.decisions import Decisions
from services.crypto.persons.people import People
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.reading import Reading
from services.crypto.persons.sealing import PersonSealer
from services.crypto.settings import CryptoSettings
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


def open_custody(settings: CryptoSettings) -> Custody:
    """Open the custodians that the settings name; files in the home are made. OSError."""
    name = settings.kms_key_id.removeprefix(_FILE)
    if settings.kms_keys is None:
        create_key_file(settings.kms_file, [name])
    if settings.app_keys is None:
        create_key_file(settings.app_key_file, [version_name(_FIRST_APP_KEY)])
    return Custody(
        GuardedKms(FileKms(settings.kms_file)), LocalAppKeys(KeyFile(settings.app_key_file))
    )


@dataclass(frozen=True)
class Keys:
    """The keys between the custodians and the values."""

    tenants: TenantKeys
    users: UserKeys
    fields: FieldKeys
    app: AppKeyVersions

    async def close(self) -> None:
        """Forget all of them."""
        await self.tenants.close()
        await self.fields.close()
        await self.app.close()


def open_keys(settings: CryptoSettings, custody: Custody, transactions: Transactions) -> Keys:
    """Give the keys of a database."""
    store = KeyStore(transactions)
    where = (settings.environment, custody.kms, settings.kms_key_id, store)
    tenants = TenantKeys(*where)
    return Keys(
        tenants,
        UserKeys(settings.environment, tenants, store),
        FieldKeys(*where),
        AppKeyVersions(store),
    )


def servicers(
    settings: CryptoSettings,
    custody: Custody,
    keys: Keys,
    transactions: Transactions,
    audit: Audit,
    tokens: PageTokens,
) -> Sequence[tuple[Any, Any]]:
    """Give the servicers, each with the function that adds it to a server."""
    cipher = FieldCipher(settings.environment, keys.users, keys.app, custody.app_key)
    persons, config = PersonStore(settings.kms_key_id), ConfigStore()
    sealer = PersonSealer(cipher, keys.users, keys.fields)
    people = People(transactions, persons, config, sealer, audit)
    reading = Reading(transactions, persons, config, cipher, keys.fields, audit)
    return [
        (
            user_service_pb2_grpc.add_UserServiceServicer_to_server,
            UserServicer(people, reading, tokens),
        ),
        (
            config_service_pb2_grpc.add_ConfigServiceServicer_to_server,
            ConfigServicer(Decisions(transactions, config, audit), tokens),
        ),
    ]
