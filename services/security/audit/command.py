"""The command ``verify-audit`` of the security service."""

import argparse
import re
import sys
from dataclasses import asdict

import orjson

from mesh.contract.catalogue import load_catalogue
from mesh.contract.names import tenant_of
from mesh.server.deployable import Command, CommandFailed, close_store, open_store
from services.security.audit.chain_store import Chain
from services.security.audit.verification import Known, Verdict, Verification
from services.security.settings import SecuritySettings

PACKAGE = "secmesh.security.v1"
_KNOWN = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


def _known(text: str) -> Known:
    match = _KNOWN.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("must be PLACE:HASH, as an earlier check printed it")
    return Known(int(match[1]), match[2])


def _tenant(text: str) -> str:
    if tenant_of(f"tenants/{text}") != text:
        raise argparse.ArgumentTypeError("is the name of no tenant")
    return text


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", type=_tenant, help="check the chain of this one; else of all")
    parser.add_argument(
        "--known",
        type=_known,
        action="append",
        default=[],
        metavar="PLACE:HASH",
        help="an end that an earlier check of the tenant printed: it must still be there",
    )
    parser.add_argument("--output", choices=["text", "json"], default="text", help="form of stdout")


async def _run(settings: SecuritySettings, arguments: argparse.Namespace) -> None:
    """Check chains and print what was found; CommandFailed if one is broken."""
    if arguments.known and not arguments.tenant:
        raise CommandFailed("--known is about one chain: name its --tenant")
    store = await open_store(settings, load_catalogue(PACKAGE), isolated=True)
    try:
        verification = Verification(store, Chain(store))
        tenants = [arguments.tenant] if arguments.tenant else await verification.tenants()
        verdicts = [await verification.check(tenant, arguments.known) for tenant in tenants]
    finally:
        await close_store(store)
    if arguments.output == "json":
        sys.stdout.write(orjson.dumps([asdict(each) for each in verdicts]).decode() + "\n")
    else:
        sys.stdout.writelines(f"{_line(each)}\n" for each in verdicts)
    if broken := sum(bool(each.problem) for each in verdicts):
        raise CommandFailed(f"{broken} of {len(verdicts)} chains are broken")


def _line(verdict: Verdict) -> str:
    if verdict.problem:
        where = f"{verdict.entry} " if verdict.entry else ""
        return f"{verdict.tenant}: BROKEN after {verdict.entries} entries: {where}{verdict.problem}"
    end = f"{verdict.head.position}:{verdict.head.hash}"
    return f"{verdict.tenant}: {verdict.entries} entries, unbroken, end {end}"


VERIFY_AUDIT = Command(
    name="verify-audit",
    help="check the chains of the audit log, as the owner of the tables",
    add_arguments=_add_arguments,
    run=_run,
)
