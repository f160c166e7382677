"""The command ``prune-access-logs``: one pass over the logs of all tenants, to be run each day."""

import argparse
import logging
import sys
from dataclasses import dataclass, replace

from mesh.errors import Refusal
from mesh.server.program import Command, CommandFailed, no_arguments
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_ACTIVE
from services.tenancy.assembly import open_parts
from services.tenancy.credentials.access_retention import AccessRetention, LogBroken
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings
from services.tenancy.store.items import text

_LOG = logging.getLogger(__name__)


@dataclass
class Pruned:
    """What was done."""

    tenants: int = 0
    entries: int = 0
    failed: int = 0
    """Tenants whose log is broken, or could not be reached."""


async def _run(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        done = await prune_access_logs(parts)
    finally:
        await parts.close()
    told = f"{done.entries} entries of {done.tenants} access logs were removed"
    if done.failed:
        raise CommandFailed(f"{told}; {done.failed} logs were not looked after: the log says why")
    sys.stdout.write(f"{told}\n")


async def prune_access_logs(parts: Parts) -> Pruned:
    """Remove what is over from the logs of all active tenants; any number of processes may.

    Raises CommandFailed without credentials of AWS.
    """
    if parts.credentials is None:
        raise CommandFailed("this process has no credentials of AWS")
    done, query = Pruned(), parts.tenants.listed(TENANT_STATUS_ACTIVE)
    while True:
        page = await parts.store.query(query)
        for item in page.items:
            await _prune(parts.credentials.retention, text(item, "tenant_id"), done)
        if page.next is None:
            return done
        query = replace(query, start=page.next)


async def _prune(retention: AccessRetention, tenant: str, done: Pruned) -> None:
    done.tenants += 1
    try:
        removed = await retention.remove_over(tenant)
    except LogBroken as broken:
        _LOG.error("%s; nothing is removed of it", broken)
        done.failed += 1
    except Refusal as refusal:
        # One must not keep the others waiting; what is over is so tomorrow.
        _LOG.warning("the access log of %s was not pruned: %s", tenant, refusal.reason.name)
        done.failed += 1
    else:
        done.entries += removed.entries


PRUNE_ACCESS_LOGS = Command(
    "prune-access-logs", "remove entries of access logs whose time is over", no_arguments, _run
)
