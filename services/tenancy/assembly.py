"""Puts the parts of the service together."""

import random
import secrets
from collections.abc import Sequence
from typing import Any, TypeAlias

from secmesh.tenancy.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from secmesh.tenancy.v1.execution_service_pb2_grpc import add_ExecutionServiceServicer_to_server
from secmesh.tenancy.v1.provider_service_pb2_grpc import add_ProviderServiceServicer_to_server
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import (
    add_ScanResultServiceServicer_to_server,
)
from secmesh.tenancy.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server
from secmesh.tenancy.v1.tenant_service_pb2_grpc import add_TenantServiceServicer_to_server
from services.tenancy.account_servicer import AccountServicer
from services.tenancy.clock import SystemClock
from services.tenancy.execution_servicer import ExecutionServicer
from services.tenancy.parts import Parts
from services.tenancy.provider_servicer import ProviderServicer
from services.tenancy.scan_result_servicer import ScanResultServicer
from services.tenancy.schedule_servicer import ScheduleServicer
from services.tenancy.settings import TenancySettings
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.dynamodb_client import dynamodb_client
from services.tenancy.store.retrying import RetryingStore
from services.tenancy.store.telemetry import measure
from services.tenancy.tenant_servicer import TenantServicer

Registration: TypeAlias = tuple[Any, Any]
"""A servicer, after the function that adds it to a server."""
_KEY_BYTES = 32


def open_parts(settings: TenancySettings) -> Parts:
    """Open what the settings name; ``parts.store.close`` lets go of it."""
    clock = SystemClock()
    chance = random.Random()  # noqa: S311 - for jitter
    client = dynamodb_client(
        settings.aws_region, settings.aws_endpoint_url, connections=settings.store_calls
    )
    tables = DynamoDbStore(
        client, settings.table_names, threads=settings.store_calls, observe=measure
    )
    return Parts(
        settings=settings,
        store=RetryingStore(tables, clock, chance),
        clock=clock,
        key=settings.page_key.encode() or secrets.token_bytes(_KEY_BYTES),
        chance=chance,
    )


def servicers(parts: Parts) -> Sequence[Registration]:
    """Give the servicers, each with the function that adds it to a server."""
    return [
        (add_TenantServiceServicer_to_server, TenantServicer(parts)),
        (add_ProviderServiceServicer_to_server, ProviderServicer(parts)),
        (add_AccountServiceServicer_to_server, AccountServicer(parts)),
        (add_ScheduleServiceServicer_to_server, ScheduleServicer(parts)),
        (add_ExecutionServiceServicer_to_server, ExecutionServicer(parts)),
        (add_ScanResultServiceServicer_to_server, ScanResultServicer(parts)),
    ]
