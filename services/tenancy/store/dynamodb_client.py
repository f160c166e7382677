"""The client of DynamoDB: boto3's, with calls sent by ``mesh.aws`` for a third of the CPU."""

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from botocore.config import Config
from botocore.utils import get_environ_proxies

from mesh.aws.direct import DirectEndpoint
from mesh.aws.models import new_session
from mesh.aws.pace import Paces
from mesh.aws.sending import Sending
from mesh.aws.telemetry import Attempts
from mesh.aws.transport import Transport, trusted_by

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_CONNECTIONS: Final = 32
CONNECT_SECONDS: Final = 2
READ_SECONDS: Final = 5.0
EMBEDDED_READ_SECONDS: Final = 60.0
"""The endpoint on this machine answers one call after the other."""
_SERVICE = "dynamodb"
_WHOLE_RATE = 1.0
"""Who watches no calls is not slowed down: ``retrying.py`` has its own pauses."""


def dynamodb_client(
    region: str,
    endpoint: str = "",
    *,
    connections: int = DEFAULT_CONNECTIONS,
    read_seconds: float = READ_SECONDS,
    credentials: tuple[str, str] | None = None,
) -> "DynamoDBClient":
    """Make a client, which tries nothing again by itself and waits so long for an answer.

    ``credentials`` are an access key's id and secret; without them those of the environment,
    as boto3 finds them.
    """
    session = new_session()
    if credentials is not None:
        session.set_credentials(*credentials)
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
        # Parameters are made here alone, from types that are checked.
        parameter_validation=False,
    )
    client = session.create_client(
        _SERVICE, region_name=region, endpoint_url=endpoint or None, config=config
    )
    # A way through a proxy is botocore's to find.
    if not get_environ_proxies(client.meta.endpoint_url):
        transport = Transport(
            partial(trusted_by, session),
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            idle=connections,
        )
        pace = Paces(_WHOLE_RATE).of("", region, _SERVICE)
        sending = Sending(pace, Attempts(_SERVICE, region), transport, _unheard)
        sending.watch(client)
        DirectEndpoint(client, session, sending, transport)
    return cast("DynamoDBClient", client)


def _unheard(_code: str) -> None:
    """Codes of errors are looked at where they are raised."""
