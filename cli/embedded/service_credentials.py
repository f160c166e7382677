"""Credentials of the embedded services, for which the mesh's own issuer gives them tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from cli.embedded.folder import PLATFORM, Folder, write_private
from mesh.embedded.process import ChildFailed
from secmesh.tenancy.v1.service_credential_pb2 import ServiceCredential
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2 import CreateTenantRequest
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from secmesh.tenancy.v1.token_service_pb2 import (
    CreateServiceCredentialRequest,
    RotateServiceCredentialRequest,
)
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client import CallRefused, connect

ISSUER = "secmesh-tenancy"
"""What the embedded tenancy service calls itself in the tokens it issues."""
_ALL_TENANTS = "*"


@dataclass(frozen=True)
class Service:
    """Who calls other services by himself, and what his tokens allow in any one tenant."""

    name: str
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()

    @property
    def client_id(self) -> str:
        """What he calls himself when he asks for a token."""
        return f"{PLATFORM}.{self.name}"

    def secret(self, folder: Folder) -> Path:
        """Give the file of his secret."""
        return folder.keys / f"{self.name}_client_secret"


EXECUTOR = Service("executor", roles=("operator",))
INVENTORY = Service("inventory", permissions=("tenancy.credentials.vend",))
REMOVAL = Service("removal", permissions=("platform.tenants.remove",))


def create_credentials(folder: Folder, address: str) -> None:
    """Have the tenancy service make a credential for each; blocks. Raises ChildFailed.

    Those there are of another start get another secret: the one before may have been seen.
    """
    try:
        with connect(address, token=folder.platform_token()) as channel:
            tenant = Tenant(tenant_name="The platform")
            request = CreateTenantRequest(tenant=tenant, tenant_id=PLATFORM)
            _unless_there(lambda: TenantServiceStub(channel).CreateTenant(request))
            for each in (EXECUTOR, INVENTORY, REMOVAL):
                write_private(each.secret(folder), _made(channel, each))
    except CallRefused as refused:
        raise ChildFailed(
            f"the tenancy service makes no credentials of services: {refused.message}"
        ) from None


def _made(channel: grpc.Channel, service: Service) -> str:
    """Give the secret of a credential that is made, or made anew."""
    tokens = TokenServiceStub(channel)
    parent = f"tenants/{PLATFORM}"
    credential = ServiceCredential(
        tenants=[_ALL_TENANTS], roles=service.roles, permissions=service.permissions
    )
    request = CreateServiceCredentialRequest(
        parent=parent, service_credential=credential, service_credential_id=service.name
    )
    issued = _unless_there(lambda: tokens.CreateServiceCredential(request))
    if issued is None:
        name = f"{parent}/serviceCredentials/{service.name}"
        issued = tokens.RotateServiceCredential(RotateServiceCredentialRequest(name=name))
    return str(issued.client_secret)


def _unless_there(make: Callable[[], Any]) -> Any:
    """Make something; None if it is there already."""
    try:
        return make()
    except CallRefused as refused:
        if refused.code is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        return None
