"""Passwords of RDS IAM authentication: signed requests instead of a secret that is kept.

Source: "IAM database authentication for MariaDB, MySQL, and PostgreSQL" in the user guide of RDS.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import await_only

from mesh.sql.settings import ENCRYPTED, EngineUrlError

REGION = "iam_region"
"""Parameter of a URL: the region whose IAM decides who may connect."""
_PORT = 5432
_REUSED_SECONDS = 600
"""A password opens connections for 15 minutes; one serves all that are opened meanwhile."""


class IamPasswords:
    """Gives each new connection of an engine a password of now."""

    def __init__(self, url: sa.URL, clock: Callable[[], float] = time.monotonic) -> None:
        """Refuse a URL that does not say enough, or what it must not: EngineUrlError."""
        if not (url.host and url.username):
            raise EngineUrlError(f"{REGION} needs a URL with user and host")
        if url.password is not None:
            raise EngineUrlError(f"{REGION} takes no password in the URL")
        if url.query.get("sslmode") not in ENCRYPTED:
            raise EngineUrlError(f"{REGION} needs an encrypted connection: add sslmode=verify-full")
        self._url = url
        self._clock = clock
        self._password = ""
        self._made = -float("inf")

    def provide(self, _dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        """Answer the event ``do_connect``: the driver connects with the password added."""
        del parameters[REGION]  # libpq knows no such parameter
        if self._clock() - self._made >= _REUSED_SECONDS:
            # Credentials may have to be fetched first, and others are served meanwhile.
            self._password = await_only(asyncio.to_thread(_password, self._url))
            self._made = self._clock()
        parameters["password"] = self._password


def signed(url: sa.URL) -> sa.URL:
    """Give a URL that libpq takes: with a password if it names a region, else as it is."""
    if REGION not in url.query:
        return url
    return url.set(password=_password(url)).difference_update_query([REGION])


def _password(url: sa.URL) -> str:
    import boto3  # whoever keeps no database in AWS does without

    client = boto3.Session().client("rds", region_name=str(url.query[REGION]))
    password: str = client.generate_db_auth_token(
        DBHostname=url.host, Port=url.port or _PORT, DBUsername=url.username
    )
    return password
