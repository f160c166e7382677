"""Clients of the embedded endpoint, as the sample account is made with them."""

from typing import Any

import boto3
from botocore.config import Config

from mesh.aws.models import new_session

ACCOUNT = "123456789012"


class Clients:
    """Clients with credentials that lead nowhere but to the embedded endpoint."""

    def __init__(self, endpoint_url: str, region: str) -> None:
        self._endpoint_url = endpoint_url
        self.region = region
        self._session = boto3.session.Session(
            aws_access_key_id="embedded",
            aws_secret_access_key="embedded",  # noqa: S106  # the endpoint takes anything
            botocore_session=new_session(),
        )

    def client(self, service: Any, region: str = "") -> Any:
        """Give a client of a service, in the sample's own region unless another is named."""
        client = self._session.client(
            service,
            endpoint_url=self._endpoint_url,
            region_name=region or self.region,
            config=Config(retries={"total_max_attempts": 1}),
        )
        if service == "s3control":
            # One endpoint has no host name for each account.
            client.meta.events.register("before-sign.s3-control", _drop_account_prefix)
        return client


def _drop_account_prefix(request: Any, **_: object) -> None:
    request.url = request.url.replace(f"//{ACCOUNT}.", "//", 1)
