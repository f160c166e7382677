"""Puts together what rotates keys: who orders it, and who does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mesh.sql.paging import PageTokens
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import key_service_pb2_grpc
from services.crypto.assembly import Custody, Keys
from services.crypto.audit.entry import Audit
from services.crypto.key_servicer import KeyServicer
from services.crypto.keys.key_stops import KeyStops
from services.crypto.keys.key_store import KeyStore
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.person_store import PersonStore
from services.crypto.rotation.app_key_rotation import AppKeyRotation
from services.crypto.rotation.kms_key_rotation import KmsKeyRotation
from services.crypto.rotation.procedure import Procedure
from services.crypto.rotation.rotation import KeyType
from services.crypto.rotation.rotation_store import RotationLog
from services.crypto.rotation.rotations import Rotations
from services.crypto.rotation.runner import Pace, RotationRunner
from services.crypto.rotation.schedule import RotationSchedule, utc_now
from services.crypto.rotation.sealed_values import SealedValues
from services.crypto.rotation.tenant_key_rotation import TenantKeyRotation
from services.crypto.rotation.user_key_rotation import UserKeyRotation
from services.crypto.settings import CryptoSettings


@dataclass(frozen=True)
class RotationParts:
    """What rotates the keys of one database."""

    rotations: Rotations
    runner: RotationRunner
    schedule: RotationSchedule
    procedures: Mapping[KeyType, Procedure]

    def start(self) -> None:
        """Begin to do what is due."""
        self.runner.start()
        self.schedule.start()

    async def close(self) -> None:
        """Stop; another process goes on."""
        await self.schedule.close()
        await self.runner.close()


def open_rotations(
    settings: CryptoSettings,
    custody: Custody,
    keys: Keys,
    transactions: Transactions,
    audit: Audit,
    pace: Pace,
    clock: Callable[[], datetime] = utc_now,
) -> RotationParts:
    """Give what rotates the keys of a database; it is not started yet."""
    log = RotationLog()
    values = SealedValues(settings.environment, PersonStore(), ConfigStore())
    procedures: Mapping[KeyType, Procedure] = {
        KeyType.TENANT_KEK: TenantKeyRotation(transactions, keys.tenants, keys.users),
        KeyType.APP_KEY: AppKeyRotation(
            KeyStore(transactions), keys.app, keys.users, custody.app_key, values
        ),
        KeyType.KMS_CMK: KmsKeyRotation(
            custody.kms, settings.kms_key_id, keys.tenants, keys.fields
        ),
        KeyType.USER_DEK: UserKeyRotation(keys.tenants, keys.users, values),
    }
    return RotationParts(
        Rotations(transactions, log, procedures, audit),
        RotationRunner(transactions, log, procedures, audit, pace),
        RotationSchedule(transactions, log, procedures, audit, clock),
        procedures,
    )


def pace_of(settings: CryptoSettings) -> Pace:
    """Give how fast rotations go."""
    return Pace(
        lease=timedelta(seconds=settings.rotation_lease_seconds),
        rows_per_second=settings.rotation_rows_per_second,
        window=timedelta(days=settings.rotation_window_days),
    )


def key_servicer(
    transactions: Transactions, rotations: Rotations, keys: Keys, audit: Audit, tokens: PageTokens
) -> tuple[Any, Any]:
    """Give the servicer of keys with the function that adds it to a server."""
    stops = KeyStops(transactions, audit, keys.forget)
    servicer = KeyServicer(transactions, rotations, stops, tokens)
    return key_service_pb2_grpc.add_KeyServiceServicer_to_server, servicer
