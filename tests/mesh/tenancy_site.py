"""The tenancy service behind the gateway, each a process of its own."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.embedded.platform import EMBEDDED_CREDENTIALS
from mesh.identity.keys import JWKS_FILE, create_signing_key, sign_token
from tests.mesh.gateway_fixtures import (
    Gateway,
    process,
    running_gateway,
)

ROOT = "/tenancy/v1"


COMMAND = [sys.executable, "-m", "services.tenancy", "serve"]


PATIENCE_SECONDS = 60


@dataclass
class Site:
    """The gateway, and the AWS endpoint behind the service."""

    gateway: Gateway
    endpoint: str
    called: set[str] = field(default_factory=set)
    """Methods that the walk through all of them has called."""

    def platform(self, tenant: str) -> dict[str, str]:
        """Give the headers of the platform's own people, who act for a tenant."""
        token = sign_token(
            self.gateway.keys,
            subject="ann",
            tenant="platform",
            roles=["platform", "admin"],
            tenants=[tenant],
        )
        return {"authorization": f"Bearer {token}"}

    def do(self, method: str, verb: str, path: str, body: Any = None, tenant: str = "acme") -> Any:
        """Call a method over REST that is to be answered; give the answer."""
        content = None if body is None else json.dumps(body)
        headers = self.platform(tenant)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.gateway.call(verb, f"{ROOT}/{path}", content=content, headers=headers)
            # A machine with other work may answer Envoy's probes too late: then nothing is sent.
            if answer.status_code != 503 or time.monotonic() > until:
                break
            time.sleep(0.2)
        assert answer.status_code == 200, f"{method}: {answer.text}"
        self.called.add(method)
        return answer.json()


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Run them until the block ends, with two tenants."""
    create_signing_key(folder / "keys")
    aws = [sys.executable, "-m", "mesh.embedded.aws"]
    # In a process of its own: what this process has of moto is others', too.
    with process(aws, folder / "aws.log", os.environ) as endpoint_child:
        endpoint = listening(endpoint_child)["endpoint"]
        settings = {
            **EMBEDDED_CREDENTIALS,
            "AWS_ENDPOINT_URL": endpoint,
            "SECMESH_HOME": str(folder),
            "SECMESH_TENANCY_LISTEN": "127.0.0.1:0",
            "SECMESH_TENANCY_JWKS": str(folder / "keys" / JWKS_FILE),
            "SECMESH_TENANCY_SET_UP": "true",
            "SECMESH_TENANCY_PRINCIPAL_ARN": "arn:aws:iam::999988887777:role/secmesh",
        }
        with process(COMMAND, folder / "tenancy.log", os.environ | settings) as child:
            services = {"tenancy": listening(child)["address"]}
            with running_gateway(services, folder) as gateway:
                made = Site(gateway, endpoint)
                for tenant in ("acme", "beta"):
                    body = {"tenantName": f"Tenant {tenant}"}
                    made.do("CreateTenant", "POST", f"tenants?tenantId={tenant}", body, tenant)
                yield made


def listening(child: Any) -> dict[str, str]:
    word, _, rest = child.stdout.readline().partition(" ")
    assert word == "LISTENING"
    told: dict[str, str] = json.loads(rest)
    return told
