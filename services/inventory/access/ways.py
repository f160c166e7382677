"""Ways into an account: by the server's own credentials, or by sessions that are lent."""

import threading
from typing import Protocol

from mesh.aws.accounts import Account, Accounts
from services.inventory.access.lending import AccountLender


class Way(Protocol):
    """The way of one run; threads may share it, and its methods block."""

    def open(self, *, patient: bool = True) -> Account:
        """Give the account, after STS said that this way leads there.

        Without patience a dependency that does not answer is not waited for. Raises
        mesh.aws.accounts.AccountUnreachable, SessionUnavailable, ReadingCancelled.
        """

    def current(self) -> Account:
        """Give it for another unit, with credentials that are good now; raises as ``open``."""

    def stop(self) -> None:
        """Have nobody wait any more."""


class OwnWay:
    """The server's own credentials, or a role that is assumed with them."""

    def __init__(self, accounts: Accounts, cloud_account_id: str) -> None:
        self._accounts = accounts
        self._cloud_account_id = cloud_account_id

    def open(self, *, patient: bool = True) -> Account:  # noqa: ARG002 - it waits for nobody
        """Give the account, whose owner STS confirms anew."""
        return self._accounts.open(self._cloud_account_id)

    def current(self) -> Account:
        """Give the account, confirmed a while ago at most."""
        return self._accounts.current(self._cloud_account_id)

    def stop(self) -> None:
        """Nobody waits."""


class LentWay:
    """Sessions of the tenancy service, held by this run and nobody else."""

    def __init__(self, accounts: Accounts, cloud_account_id: str, lender: AccountLender) -> None:
        self._accounts = accounts
        self._cloud_account_id = cloud_account_id
        self._lender = lender
        self._lock = threading.Lock()
        self._account: Account | None = None

    def open(self, *, patient: bool = True) -> Account:
        """Give the account; its sessions are fetched when they are needed, and ahead of it."""
        with self._lock:
            if self._account is None:
                self._lender.waits = patient
                try:
                    self._account = self._accounts.lent(self._cloud_account_id, self._lender)
                finally:
                    self._lender.waits = True
            return self._account

    def current(self) -> Account:
        """Give the account: its clients take each session from the lender by themselves."""
        return self.open()

    def stop(self) -> None:
        """Have nobody wait for the tenancy service any more."""
        self._lender.stop()
