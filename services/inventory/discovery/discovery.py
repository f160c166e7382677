"""Reads an organization by a lent session, and keeps what it found."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from mesh.aws.accounts import AccountUnreachable as NoWay
from mesh.aws.outcomes import Outcome, SessionUnavailable
from mesh.aws.reader import Patience, Reader
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.server.call import current_call
from secmesh.inventory.v1.organization_pb2 import Organization
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.access.account_access import AccountAccess, refusal_of
from services.inventory.access.ways import Way
from services.inventory.discovery.listing import OPERATIONS, Listing, read_organization
from services.inventory.discovery.organization_store import OrganizationStore
from services.inventory.discovery.standing import Discoverer, compared
from services.inventory.errors import DiscoveryUnavailable

if TYPE_CHECKING:
    from services.inventory.discovery.registered import RegisteredAccounts

AT_ONCE = 2
"""Organizations read at a time."""
READS = 4
"""Calls made at a time: AWS answers few of them in a second."""
_SHARE = 0.9
"""Of a call's time, what reading may take; the rest is for what was read, or for saying why not."""


class Discovery:
    """Discovers the accounts of organizations."""

    def __init__(
        self,
        access: AccountAccess,
        registered: "RegisteredAccounts | None",
        organizations: OrganizationStore,
        limit: timedelta,
    ) -> None:
        """``limit`` is the longest that one organization is read, if its caller waits so long."""
        self._access = access
        self._registered = registered
        self._organizations = organizations
        self._limit = limit.total_seconds()
        self._readings = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="organization")
        self._reads = ThreadPoolExecutor(READS, thread_name_prefix="organization-read")

    async def close(self) -> None:
        """Let go of the tenancy service; what is being read is not waited for."""
        self._readings.shutdown(wait=False, cancel_futures=True)
        self._reads.shutdown(wait=False, cancel_futures=True)
        if self._registered is not None:
            await self._registered.close()

    async def discover(self, parent: str, account: str) -> Organization:
        """Discover the organization that an account of the tenancy service may read.

        Raises DiscoveryUnavailable, ResourceNotFound, FieldInvalid, what the tenancy service
        refuses, and what ``read_organization`` raises.
        """
        if self._registered is None:
            raise DiscoveryUnavailable
        if tenant_of(account) != tenant_of(parent):
            raise ResourceNotFound(account)
        cloud_account_id = await self._registered.cloud_account_id(account)
        if not cloud_account_id:
            raise FieldInvalid.of("account", "is no account of AWS")
        registered = await self._registered.names(parent)
        purpose = f"{parent}/organizations:discover"
        wanted = Sync(name=purpose, account=account, cloud_account_id=cloud_account_id)
        way = await self._access.try_way(wanted)
        listing = await self._listed(way, cloud_account_id)
        by = Discoverer(parent, account, cloud_account_id, datetime.now(UTC))
        name = f"{parent}/organizations/{listing.organization_id}"
        async with self._organizations.store.transaction() as connection:
            before = await self._organizations.accounts(name, connection)
            found = compared(listing, registered, before, by)
            await self._organizations.replace(connection, found)
        return found.organization

    async def _listed(self, way: Way, cloud_account_id: str) -> Listing:
        left = min(self._limit, current_call().remaining * _SHARE)
        stopped = threading.Event()
        read = partial(self._read, way, Patience(left, stopped))
        try:
            # With the context, so that AWS calls belong to the trace of who asked for them.
            return await asyncio.get_running_loop().run_in_executor(
                self._readings, partial(copy_context().run, read)
            )
        except (NoWay, SessionUnavailable) as problem:
            raise refusal_of(problem, cloud_account_id) from problem
        finally:
            # Nobody waits for what a caller who left had asked.
            stopped.set()
            way.stop()

    def _read(self, way: Way, patience: Patience) -> Listing:
        account = way.current()
        reader = Reader(
            account,
            account.region,
            patience=patience,
            pool=self._reads,
            listener=_unheard,
            operations=OPERATIONS,
        )
        return read_organization(reader)


def _unheard(_outcome: Outcome) -> None:
    """Nobody counts the answers."""
