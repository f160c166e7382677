"""Access to AWS accounts: whose credentials, which endpoint, how patiently."""

import threading
import time
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import get_environ_proxies

from mesh.aws.direct import DirectEndpoint
from mesh.aws.lent import Lender, LentCredentials, LentSession, lend_to
from mesh.aws.models import new_session
from mesh.aws.outcomes import CREDENTIALS_REFUSED, SessionUnavailable, classify, error_code
from mesh.aws.pace import Paces
from mesh.aws.sending import Sending
from mesh.aws.telemetry import Attempts
from mesh.aws.transport import Transport, trusted_by

ACCOUNT_PLACEHOLDER = "{account}"
CONFIRMED_SECONDS = 300.0
"""How long credentials count as good that STS has confirmed."""
USER_AGENT = "secmesh"
_S3_CONTROL = "s3control"
"""Its requests are changed before they are signed."""
_SESSION_NAME = "secmesh"


class AccountUnreachable(Exception):
    """No credentials at hand lead to the account; the text holds no secret."""

    def __init__(self, cloud_account_id: str, problem: str) -> None:
        super().__init__(f"account {cloud_account_id}: {problem}")
        self.cloud_account_id = cloud_account_id
        self.problem = problem


@dataclass(frozen=True)
class Access:
    """How AWS is reached."""

    region: str
    """Where global services are asked and what is read if no region is named."""
    endpoint_url: str = ""
    """One endpoint for every service; empty for AWS itself."""
    operations: frozenset[str] = frozenset()
    """What is called, ``service:Operation``; services of which none is named stay whole."""
    role: str = ""
    """ARN of the role to assume in another account, with ``{account}`` in it; empty for none."""
    external_id: str = ""
    attempts: int = 8
    """Tries of one call, the first included."""
    share: float = 0.7
    """Part of a rate that AWS found too fast which is used afterwards."""
    connections: int = 32
    connect_timeout: float = 10.0
    """Seconds."""
    read_timeout: float = 60.0
    """Seconds."""


class Account:
    """One account with its clients, which threads may share."""

    def __init__(
        self,
        cloud_account_id: str,
        partition: str,
        access: Access,
        session: botocore.session.Session,
        paces: Paces,
        lent: LentCredentials | None = None,
    ) -> None:
        """``lent`` is asked for others when AWS refuses the credentials of an access key."""
        self.cloud_account_id = cloud_account_id
        self.partition = partition
        self.region = access.region
        self._access = access
        self._session = session
        self._paces = paces
        self._lent = lent
        self.confirmed = time.monotonic()
        """When STS last said whose credentials these are."""
        self.refused = False
        """Whether an answer said that the credentials are not good any more."""
        self._transport = Transport(
            partial(trusted_by, session),
            connect_timeout=access.connect_timeout,
            read_timeout=access.read_timeout,
            idle=access.connections,
        )
        self._clients: dict[tuple[str, str], BaseClient] = {}
        # botocore sessions make clients in one thread at a time only.
        self._lock = threading.Lock()

    def client(self, service: str, region: str) -> BaseClient:
        """Give the client of a service in a region, made once."""
        with self._lock:
            client = self._clients.get((service, region))
            if client is None:
                client = _client(self._session, self._access, service, region)
                if self._access.endpoint_url and service == _S3_CONTROL:
                    client.meta.events.register("before-sign.s3-control", self._drop_host_prefix)
                self._take_over(client, service, region)
                self._clients[service, region] = client
            return client

    def _take_over(self, client: BaseClient, service: str, region: str) -> None:
        pace = self._paces.of(self.cloud_account_id, region, service)
        renew = None if self._lent is None else self._lent.renew
        # A way through a proxy is botocore's to find.
        ours = None if get_environ_proxies(client.meta.endpoint_url) else self._transport
        sending = Sending(pace, Attempts(service, region), ours, self._heard, renew)
        sending.watch(client)
        if ours is not None and service != _S3_CONTROL:
            DirectEndpoint(client, self._session, sending, ours)

    def barred(self, service: str) -> str:
        """Give the code of calls that the session cannot make of a service; "" if it can."""
        return "" if self._lent is None else self._lent.barred(service)

    def has_credentials_of(self, session: botocore.session.Session) -> bool:
        """Tell whether another session brings nothing that these clients have not."""
        mine, theirs = self._session.get_credentials(), session.get_credentials()
        if self.refused or mine is None or theirs is None:
            return False
        if isinstance(mine, RefreshableCredentials):
            # They fetch their own successors.
            return type(mine) is type(theirs)
        return bool(mine.get_frozen_credentials() == theirs.get_frozen_credentials())

    def _heard(self, code: str) -> None:
        self.refused |= code in CREDENTIALS_REFUSED

    def _drop_host_prefix(self, request: AWSRequest, **_: object) -> None:
        # One endpoint for all accounts has no host name for each of them.
        request.url = str(request.url).replace(f"//{self.cloud_account_id}.", "//", 1)


def _client(
    session: botocore.session.Session, access: Access, service: str, region: str
) -> BaseClient:
    config = Config(
        connect_timeout=access.connect_timeout,
        read_timeout=access.read_timeout,
        max_pool_connections=access.connections,
        retries={"mode": "standard", "total_max_attempts": access.attempts},
        # Both cost CPU with each call: parameters are ours, and botocore would build its own
        # user agent of a dozen parts anew.
        parameter_validation=False,
        user_agent=USER_AGENT,
    )
    return session.create_client(
        service, region_name=region, endpoint_url=access.endpoint_url or None, config=config
    )


@cache
def _known_regions(operations: frozenset[str]) -> frozenset[str]:
    # botocore's own way would read the description of EC2, its largest, for this alone.
    known: Any = new_session(operations).get_component("data_loader").load_data("endpoints")
    return frozenset(
        region
        for partition in known["partitions"]
        for region in partition["services"].get("ec2", {}).get("endpoints", ())
        if region in partition["regions"]
    )


class Accounts:
    """Opens accounts with the server's own credentials, or a role assumed with them."""

    def __init__(self, access: Access) -> None:
        # Reading the list of regions takes a moment that no call should wait for.
        _known_regions(access.operations)
        self._access = access
        self._paces = Paces(access.share)
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}

    @property
    def region(self) -> str:
        return self._access.region

    def knows_region(self, region: str) -> bool:
        """Tell whether a region exists in any partition this version knows."""
        return region in _known_regions(self._access.operations)

    def open(self, cloud_account_id: str) -> Account:
        """Give the account, after STS confirmed that the credentials lead there.

        Raises AccountUnreachable.
        """
        session = new_session(self._access.operations)
        try:
            found, partition = self._identity(session)
            if found != cloud_account_id:
                session = self._assumed(cloud_account_id)
                found, partition = self._identity(session)
        except ClientError as error:
            raise AccountUnreachable(cloud_account_id, error_code(error.response)) from error
        except BotoCoreError as error:
            raise AccountUnreachable(cloud_account_id, type(error).__name__) from error
        if found != cloud_account_id:
            raise AccountUnreachable(cloud_account_id, f"the credentials lead to {found}")
        with self._lock:
            # Clients are costly to make, so they are kept while their credentials are good.
            known = self._accounts.get(cloud_account_id)
            if known is not None and known.has_credentials_of(session):
                known.confirmed = time.monotonic()
                return known
            fresh = Account(cloud_account_id, partition, self._access, session, self._paces)
            self._accounts[cloud_account_id] = fresh
            return fresh

    def current(self, cloud_account_id: str) -> Account:
        """Give the account as ``open`` does, without asking STS again for a while.

        Credentials that AWS refused, or that were confirmed some time ago, are
        fetched anew. Raises AccountUnreachable.
        """
        with self._lock:
            known = self._accounts.get(cloud_account_id)
        if known is None or known.refused or time.monotonic() - known.confirmed > CONFIRMED_SECONDS:
            return self.open(cloud_account_id)
        return known

    def lent(self, cloud_account_id: str, lender: Lender) -> Account:
        """Give an account that is entered by lent sessions alone, with clients of its own.

        STS says of each session once whose it is. Raises AccountUnreachable if it is of another
        account, then and later, and SessionUnavailable.
        """
        partition = ""

        def confirm(lent: LentSession) -> None:
            nonlocal partition
            partition = self._confirmed(cloud_account_id, lent)

        credentials = LentCredentials(lender, confirm)
        credentials.get_frozen_credentials()
        session = new_session(self._access.operations)
        lend_to(session, credentials)
        return Account(cloud_account_id, partition, self._access, session, self._paces, credentials)

    def _confirmed(self, cloud_account_id: str, lent: LentSession) -> str:
        """Give the partition of the account that a session leads to."""
        session = new_session(self._access.operations)
        session.set_credentials(lent.access_key_id, lent.secret_access_key, lent.session_token)
        try:
            found, partition = self._identity(session)
        except (ClientError, BotoCoreError) as error:
            _outcome, code = classify(error)
            raise SessionUnavailable(code, f"STS confirms no session: {code}") from error
        if found != cloud_account_id:
            raise AccountUnreachable(cloud_account_id, f"the session leads to {found}")
        return partition

    def _identity(self, session: botocore.session.Session) -> tuple[str, str]:
        client: Any = _client(session, self._access, "sts", self._access.region)
        try:
            identity = client.get_caller_identity()
        finally:
            client.close()
        return str(identity["Account"]), str(identity["Arn"]).split(":")[1]

    def _assumed(self, cloud_account_id: str) -> botocore.session.Session:
        if not self._access.role:
            raise AccountUnreachable(
                cloud_account_id, "the credentials lead elsewhere and no role is configured"
            )
        role = self._access.role.replace(ACCOUNT_PLACEHOLDER, cloud_account_id)
        session = new_session(self._access.operations)
        session.register_component(
            "credential_provider", CredentialResolver([_AssumedRole(self._access, role)])
        )
        return session


class _AssumedRole(CredentialProvider):
    """Credentials of a role, fetched again before they expire."""

    METHOD = "assume-role"

    def __init__(self, access: Access, role: str) -> None:
        super().__init__()
        self._access = access
        self._role = role
        self._source = new_session(access.operations)

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(refresh_using=self._fetch, method=self.METHOD)

    def _fetch(self) -> dict[str, str]:
        request = {"RoleArn": self._role, "RoleSessionName": _SESSION_NAME}
        if self._access.external_id:
            request["ExternalId"] = self._access.external_id
        client: Any = _client(self._source, self._access, "sts", self._access.region)
        try:
            credentials = client.assume_role(**request)["Credentials"]
        finally:
            client.close()
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }
