"""Puts together what erases persons: who signs for it, where that is kept, who ends it."""

from datetime import timedelta

from mesh.sql.transactions import Transactions
from services.crypto.assembly import Keys
from services.crypto.audit.anchors import Anchors, FileAnchors
from services.crypto.audit.entry import Audit
from services.crypto.audit_keys import AuditKeys
from services.crypto.audit_upkeep import open_anchors
from services.crypto.erasure.erasing import Erasing, Registry
from services.crypto.erasure.runner import ErasureRunner
from services.crypto.persons.person_store import PersonStore
from services.crypto.settings import CryptoSettings


def open_place(settings: CryptoSettings) -> Anchors:
    """Give where certificates are kept outside of the database: beside the audit's checkpoints."""
    return open_anchors(settings) or FileAnchors(settings.erasure_folder)


def registry_of(settings: CryptoSettings, keys: AuditKeys) -> Registry:
    """Give who signs for erasures: the key that signs checkpoints."""
    return Registry(
        keys.origin,
        keys.sealer,
        keys.subjects,
        open_place(settings),
        timedelta(days=settings.backup_days),
    )


def erasure_runner(
    keys: Keys, transactions: Transactions, audit: Audit, registry: Registry
) -> ErasureRunner:
    """Give what ends erasures in a database; it is not started yet."""
    erasing = Erasing(transactions, PersonStore(), keys.users.forget, audit, registry)
    return ErasureRunner(transactions, erasing)
