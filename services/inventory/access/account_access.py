"""Which tenant may have which account read, and by what credentials."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from google.rpc import status_pb2

from mesh.aws.accounts import Accounts
from mesh.aws.accounts import AccountUnreachable as NoWay
from mesh.aws.outcomes import SessionUnavailable
from mesh.contract.names import tenant_of
from mesh.errors import Refusal, ResourceNotFound
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.access.lending import AccountLender
from services.inventory.access.refused import SessionRefused
from services.inventory.access.ways import LentWay, OwnWay, Way
from services.inventory.account_grants import AccountGrants
from services.inventory.errors import AccountNotGranted, AccountUnreachable

if TYPE_CHECKING:
    from services.inventory.access.tenancy import Tenancy


class AccountAccess:
    """The tenancy service's word on its accounts, and the operator's on all others."""

    def __init__(
        self,
        accounts: Accounts,
        grants: AccountGrants,
        tenancy: "Tenancy | None" = None,
        wait: timedelta = timedelta(minutes=2),
    ) -> None:
        """``wait`` is the longest that a run waits for a tenancy service which does not answer."""
        self.accounts = accounts
        self._grants = grants
        self._tenancy = tenancy
        self._wait = wait

    def require(self, sync: Sync) -> None:
        """Raise ResourceNotFound or AccountNotGranted for what a run may not read."""
        tenant = tenant_of(sync.name) or ""
        if sync.account and tenant_of(sync.account) != tenant:
            raise ResourceNotFound(sync.account)
        if self._is_lent(sync):
            # The tenancy service is asked when the run comes in.
            return
        if not self._grants.allow(tenant, sync.cloud_account_id):
            raise AccountNotGranted(sync.cloud_account_id)

    def way(self, sync: Sync) -> Way:
        """Give the way of a run that is allowed; nobody is asked yet."""
        if self._tenancy is None or not self._is_lent(sync):
            return OwnWay(self.accounts, sync.cloud_account_id)
        lender = AccountLender(
            self._tenancy, sync.account, sync.cloud_account_id, sync.name, self._wait
        )
        return LentWay(self.accounts, sync.cloud_account_id, lender)

    async def try_way(self, sync: Sync) -> Way:
        """Give the way of a run that is about to start; for lent sessions the first is fetched.

        Raises AccountUnreachable, AccountMismatch, DependencyUnavailable, and what the tenancy
        service refuses, in its words.
        """
        way = self.way(sync)
        if self._is_lent(sync):
            try:
                await asyncio.to_thread(way.open, patient=False)
            except (NoWay, SessionUnavailable) as problem:
                raise refusal_of(problem, sync.cloud_account_id) from problem
        return way

    def _is_lent(self, sync: Sync) -> bool:
        return bool(sync.account) and self._tenancy is not None

    def close(self) -> None:
        """Let go of the tenancy service."""
        if self._tenancy is not None:
            self._tenancy.close()


def refusal_of(problem: NoWay | SessionUnavailable, cloud_account_id: str) -> Refusal:
    """Give what callers are told of a way that is closed."""
    if isinstance(problem, SessionRefused):
        return problem.refusal
    return AccountUnreachable(cloud_account_id, str(problem))


def status_of(problem: NoWay | SessionUnavailable, cloud_account_id: str) -> status_pb2.Status:
    """Give why a run failed to come in."""
    return refusal_of(problem, cloud_account_id).status()
