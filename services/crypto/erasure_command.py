"""The command ``replay-erasures``, and what is asked before a database is served."""

import argparse
import sys

from mesh.server.deployable import Command, CommandFailed, open_database
from mesh.sql.transactions import Transactions
from services.crypto.audit.anchors import AnchorFailed
from services.crypto.audit_upkeep import open_audit_keys, open_writer
from services.crypto.erasure.erasing import Registry
from services.crypto.erasure.replay import CertificateBroken, Replay, missing_erasures
from services.crypto.erasure_parts import registry_of
from services.crypto.persons.person_store import PersonStore
from services.crypto.settings import CryptoSettings


async def require_replayed(transactions: Transactions, registry: Registry) -> None:
    """Serve nobody who was erased. CommandFailed if a backup may have brought one back."""
    try:
        missing = await missing_erasures(transactions, registry)
    except (AnchorFailed, CertificateBroken) as error:
        raise CommandFailed(f"erasures cannot be held against the database: {error}") from error
    if missing:
        count = sum(map(len, missing.values()))
        raise CommandFailed(
            f"the database does not know {count} erasures that were certified: it was restored "
            "from a backup, and persons may be back who are gone; run `replay-erasures`"
        )


async def _replay(settings: CryptoSettings, _arguments: argparse.Namespace) -> None:
    """Do again what a restored database does not know of. CommandFailed."""
    keys = open_audit_keys(settings)
    engine = open_database(settings)
    audit = open_writer(keys, engine)
    transactions = Transactions(engine, None, isolated=True)
    audit.start()
    try:
        replay = Replay(transactions, PersonStore(), audit, registry_of(settings, keys))
        erasures, found = await replay.run()
    except (AnchorFailed, CertificateBroken) as error:
        raise CommandFailed(str(error)) from error
    finally:
        await audit.close()
        await engine.dispose()
    sys.stdout.write(f"{erasures} erasures done again, {found} persons were back\n")


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Settings alone say where certificates are."""


REPLAY = Command(
    "replay-erasures",
    "erase again who came back with a backup, by the certificates in the second place",
    _no_arguments,
    _replay,
)
