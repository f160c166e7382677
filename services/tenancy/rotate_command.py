"""The command ``rotate-credentials``: one pass over all credentials, to be run each hour."""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

from mesh.errors import Refusal
from mesh.server.program import Command, CommandFailed, no_arguments
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_ACTIVE
from services.tenancy.assembly import open_parts
from services.tenancy.credentials.scheduled_rotation import Outcome, ScheduledRotation
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings
from services.tenancy.store.items import text
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Query, Store

_LOG = logging.getLogger(__name__)


async def _run(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        counts = await rotate_credentials(parts)
    finally:
        await parts.close()
    done = ", ".join(
        f"{counts[each]} {each.value}" for each in Outcome if each is not Outcome.NOTHING
    )
    if counts[Outcome.FAILED]:
        raise CommandFailed(f"keys: {done}; each credential says why, and is tried again")
    sys.stdout.write(f"keys: {done}\n")


async def rotate_credentials(parts: Parts) -> Counter[Outcome]:
    """Do what is due in all active tenants; any number of processes may at a time.

    Raises CommandFailed without credentials of AWS.
    """
    if parts.credentials is None or parts.credentials.scheduled is None:
        raise CommandFailed("this process has no credentials of AWS")
    counts: Counter[Outcome] = Counter()
    query = parts.tenants.listed(TENANT_STATUS_ACTIVE)
    async for tenant in _each(parts.store, query, "tenant_id"):
        of_tenant = TenantScope(tenant).credentials()
        async for account in _each(parts.store, of_tenant, "account_id"):
            counts[await _rotated(parts.credentials.scheduled, tenant, account)] += 1
    return counts


async def _rotated(scheduled: ScheduledRotation, tenant: str, account: str) -> Outcome:
    try:
        outcome = await scheduled.run(tenant, account)
    except Refusal as refusal:
        # One must not keep the others waiting; it is due again.
        _LOG.warning("%s/%s was not rotated: %s", tenant, account, refusal.reason.name)
        return Outcome.FAILED
    if outcome is not Outcome.NOTHING:
        _LOG.info("the key of %s/%s: %s", tenant, account, outcome.value)
    return outcome


async def _each(store: Store, query: Query, attribute: str) -> AsyncIterator[str]:
    while True:
        page = await store.query(query)
        for item in page.items:
            yield text(item, attribute)
        if page.next is None:
            return
        query = replace(query, start=page.next)


ROTATE_CREDENTIALS = Command(
    "rotate-credentials", "change the access keys whose turn it is", no_arguments, _run
)
