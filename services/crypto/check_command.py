"""The command ``check``: holds database and custodians against what the service needs."""

import argparse
import sys
from dataclasses import asdict

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.server.deployable import Command, CommandFailed, open_database
from mesh.sql.engine import translated
from mesh.sql.transactions import Transactions
from services.crypto.assembly import open_custody
from services.crypto.audit_upkeep import open_audit_keys
from services.crypto.custodian_checks import custodian_checks
from services.crypto.erasure_command import require_replayed
from services.crypto.erasure_parts import registry_of
from services.crypto.installation_store import Check, checks
from services.crypto.settings import CryptoSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", choices=["text", "json"], default="text", help="form of stdout")


async def _run(settings: CryptoSettings, arguments: argparse.Namespace) -> None:
    """Look at everything and print it; CommandFailed if something is wrong."""
    engine = open_database(settings)
    try:
        with translated():
            async with engine.connect() as connection:
                found = await connection.run_sync(lambda sync: list(checks(sync)))
        if not any(each.problem for each in found):
            found.append(await _erasures(settings, engine))
    finally:
        await engine.dispose()
    found += await _custodians(settings)
    if arguments.output == "json":
        sys.stdout.write(orjson.dumps([asdict(each) for each in found]).decode() + "\n")
    else:
        sys.stdout.writelines(f"{_line(each)}\n" for each in found)
    if wrong := [each.name for each in found if each.problem]:
        raise CommandFailed(f"not as needed: {', '.join(wrong)}")


async def _erasures(settings: CryptoSettings, engine: AsyncEngine) -> Check:
    name = "erasures"
    transactions = Transactions(engine, None, isolated=True)
    try:
        await require_replayed(transactions, registry_of(settings, open_audit_keys(settings)))
    except CommandFailed as error:
        return Check(name, str(error), "")
    return Check(name, "", "all that are certified are done")


async def _custodians(settings: CryptoSettings) -> list[Check]:
    try:
        custody = await open_custody(settings)
    except CommandFailed as error:
        return [Check("custodians", str(error), "")]
    try:
        return await custodian_checks(custody, settings.kms_key_id)
    finally:
        await custody.close()


def _line(check: Check) -> str:
    return f"{'FAILED' if check.problem else 'ok':<7}{check.name}: {check.problem or check.found}"


CHECK = Command(
    "check", "hold the database and the KMS against what is needed", _add_arguments, _run
)
