"""Puts the parts of the service together."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from secmesh.tenancy.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from secmesh.tenancy.v1.provider_service_pb2_grpc import add_ProviderServiceServicer_to_server
from secmesh.tenancy.v1.tenant_service_pb2_grpc import add_TenantServiceServicer_to_server
from services.tenancy.account_servicer import AccountServicer
from services.tenancy.parts import Parts
from services.tenancy.provider_servicer import ProviderServicer
from services.tenancy.tenant_servicer import TenantServicer

Registration: TypeAlias = tuple[Any, Any]
"""A servicer, after the function that adds it to a server."""


def servicers(parts: Parts) -> Sequence[Registration]:
    """Give the servicers, each with the function that adds it to a server."""
    return [
        (add_TenantServiceServicer_to_server, TenantServicer(parts)),
        (add_ProviderServiceServicer_to_server, ProviderServicer(parts)),
        (add_AccountServiceServicer_to_server, AccountServicer(parts)),
    ]
