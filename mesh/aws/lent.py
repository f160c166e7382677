"""Sessions in an account that somebody lends, each for a while; they are kept in memory alone."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    ReadOnlyCredentials,
)
from botocore.session import Session

from mesh.aws.outcomes import FEDERATED_SESSION, SessionUnavailable

AHEAD = timedelta(minutes=4)
"""Before a session's end, from when on the next one is asked for."""
LATEST = timedelta(minutes=1)
"""Before its end, from when on nothing is called by it any more."""
AGAIN_SECONDS = 15.0
"""After a next session could not be had, while this one lasts."""
_METHOD = "lent"
_NOT_FEDERATED = frozenset({"iam"})
"""Services that refuse every such session, as if its keys were none (InvalidClientTokenId)."""


@dataclass(frozen=True)
class LentSession:
    """Keys that end by themselves."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    ends: datetime
    """In UTC."""
    federated: bool = False
    """Whether it is of a user, made by GetFederationToken."""


class Lender(Protocol):
    """Gives sessions in one account; asked by one thread at a time, which it may block."""

    def lend(self, refused: str, *, patient: bool) -> LentSession:
        """Give a session, another one than ``refused``, the id of an access key, if one is named.

        Whoever is ``patient`` has no session to go on with. Raises SessionUnavailable, or what
        ends the caller's work.
        """


class LentCredentials(Credentials):
    """The session of the moment, for botocore; threads may share it."""

    def __init__(
        self,
        lender: Lender,
        confirm: Callable[[LentSession], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``confirm`` is asked about each session once, and raises if it is not to be used."""
        # botocore signs by frozen keys, and by nothing else.
        super().__init__("", "", method=_METHOD)
        self._lender = lender
        self._confirm = confirm
        self._clock = clock
        self._lock = threading.Lock()
        self._missed = float("-inf")
        self._session: LentSession | None = None

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Give keys that are good for a minute at least; raises what the lender raises."""
        session = self._current()
        return ReadOnlyCredentials(
            session.access_key_id, session.secret_access_key, session.session_token
        )

    def barred(self, service: str) -> str:
        """Give the code of calls that the session cannot make of a service; "" if it can."""
        session = self._session
        federated = session is not None and session.federated
        return FEDERATED_SESSION if federated and service in _NOT_FEDERATED else ""

    def renew(self, refused: str) -> bool:
        """Have another session than that of an access key, since AWS refused it; False if not."""
        with self._lock:
            if self._session is not None and self._session.access_key_id != refused:
                # Calls that were in flight are refused together.
                return True
            try:
                session = self._fetch(refused, patient=True)
            except SessionUnavailable:
                return False
            return session.access_key_id != refused

    def _current(self) -> LentSession:
        session, left = self._look()
        if session is not None and left > AHEAD:
            return session
        if session is not None and left > LATEST:
            return self._next_one(session)
        with self._lock:
            session, left = self._look()
            if session is not None and left > LATEST:
                return session
            return self._fetch("", patient=True)

    def _next_one(self, session: LentSession) -> LentSession:
        """Fetch the next session while this one lasts; one thread does, the others go on."""
        missed = time.monotonic() - self._missed < AGAIN_SECONDS
        if missed or not self._lock.acquire(blocking=False):
            return session
        try:
            return self._fetch("", patient=False)
        except SessionUnavailable:
            self._missed = time.monotonic()
            return session
        finally:
            self._lock.release()

    def _look(self) -> tuple[LentSession | None, timedelta]:
        session = self._session
        return session, session.ends - self._clock() if session else timedelta()

    def _fetch(self, refused: str, *, patient: bool) -> LentSession:
        session = self._lender.lend(refused, patient=patient)
        known = self._session
        if known is None or known.access_key_id != session.access_key_id:
            self._confirm(session)
        self._session = session
        return session


class _Provider(CredentialProvider):
    METHOD = _METHOD

    def __init__(self, credentials: LentCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> LentCredentials:
        return self._credentials


def lend_to(session: Session, credentials: LentCredentials) -> None:
    """Have a botocore session sign by lent credentials, and look for no others."""
    session.register_component("credential_provider", CredentialResolver([_Provider(credentials)]))
