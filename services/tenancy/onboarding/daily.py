"""Verifies the accounts of all tenants again, those whose last time is long enough ago."""

import logging
from dataclasses import dataclass, replace

from services.tenancy.credentials.accesses import Use
from services.tenancy.onboarding.verification import DAY_SECONDS, Verifier
from services.tenancy.store.items import text
from services.tenancy.store.port import Query, Store

_LOG = logging.getLogger(__name__)
_USE = Use(purpose="daily verification")
_AT_ONCE = 100
"""Accounts of a tenant that are verified before the next tenant has its turn."""


@dataclass
class Reverified:
    """What was done."""

    tenants: int = 0
    accounts: int = 0


async def reverify_all(
    store: Store, verifier: Verifier, tenants: Query, older_than: float = DAY_SECONDS
) -> Reverified:
    """Verify again what is due in the tenants of a query, one after another.

    Run twice at once, or again after it was broken off, it passes over what was done.
    """
    done = Reverified()
    query = tenants
    while True:
        page = await store.query(query)
        for item in page.items:
            tenant = text(item, "tenant_id")
            verified = await verifier.reverify(tenant, _USE, older_than=older_than, most=_AT_ONCE)
            done.tenants += 1
            done.accounts += len(verified)
            for name in verified:
                _LOG.info("verified again: %s", name)
        if page.next is None:
            return done
        query = replace(query, start=page.next)
