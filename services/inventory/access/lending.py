"""Sessions that the tenancy service lends for one run."""

import threading
import time
from datetime import UTC, timedelta
from itertools import chain, repeat
from typing import TYPE_CHECKING

from mesh.aws.lent import LentSession
from mesh.aws.reader import ReadingCancelled
from services.inventory.access.refused import SessionRefused
from services.inventory.errors import AccountMismatch

if TYPE_CHECKING:
    from services.inventory.access.tenancy import Tenancy

_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
_LONGEST_PAUSE = 8.0
"""Seconds between two calls of a tenancy service that does not answer."""


class AccountLender:
    """See ``mesh.aws.lent.Lender``."""

    def __init__(
        self, tenancy: "Tenancy", account: str, cloud_account_id: str, purpose: str, wait: timedelta
    ) -> None:
        """``wait`` is the longest that one outage of the tenancy service is waited for."""
        self._tenancy = tenancy
        self._account = account
        self._cloud_account_id = cloud_account_id
        self._purpose = purpose
        self._wait = wait.total_seconds()
        self._silent_since: float | None = None
        self._stopped = threading.Event()
        self.waits = True
        """Whether an outage is waited for at all."""

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopped.set()

    def lend(self, refused: str, *, patient: bool) -> LentSession:
        """Give a session; ReadingCancelled once stopped, SessionRefused."""
        for pause in chain(_PAUSES, repeat(_LONGEST_PAUSE)):
            try:
                session = self._vended(refused)
            except SessionRefused as problem:
                if not (patient and problem.passing and self._may_wait()):
                    raise
            else:
                self._silent_since = None
                return session
            if self._stopped.wait(pause):
                raise ReadingCancelled
        raise AssertionError("there is always another pause")

    def _may_wait(self) -> bool:
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        # All units share one outage: what it took from the first is not taken from the next again.
        return self.waits and now - self._silent_since < self._wait

    def _vended(self, refused: str) -> LentSession:
        made = self._tenancy.vend(self._account, self._purpose, refused)
        if made.cloud_account_id != self._cloud_account_id:
            mismatch = AccountMismatch(self._account, self._cloud_account_id)
            raise SessionRefused(mismatch, passing=False)
        return LentSession(
            made.access_key_id,
            made.secret_access_key,
            made.session_token,
            made.expire_time.ToDatetime(tzinfo=UTC),
            made.federated,
        )
