"""Puts the parts of the service together."""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from mesh.client import open_channel
from mesh.client.passing import callers_token
from mesh.server.program import CommandFailed
from mesh.tls import KeyPair, client_credentials
from secmesh.crypto.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as CryptoRemovalStub,
)
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as InventoryRemovalStub,
)
from secmesh.security.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as SecurityRemovalStub,
)
from secmesh.tenancy.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from secmesh.tenancy.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from secmesh.tenancy.v1.cost_service_pb2_grpc import add_CostServiceServicer_to_server
from secmesh.tenancy.v1.credential_service_pb2_grpc import (
    add_CredentialServiceServicer_to_server,
)
from secmesh.tenancy.v1.execution_service_pb2_grpc import add_ExecutionServiceServicer_to_server
from secmesh.tenancy.v1.onboarding_service_pb2_grpc import (
    add_OnboardingServiceServicer_to_server,
)
from secmesh.tenancy.v1.provider_service_pb2_grpc import add_ProviderServiceServicer_to_server
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import (
    add_ScanResultServiceServicer_to_server,
)
from secmesh.tenancy.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server
from secmesh.tenancy.v1.tenant_service_pb2_grpc import add_TenantServiceServicer_to_server
from secmesh.tenancy.v1.token_service_pb2_grpc import add_TokenServiceServicer_to_server
from secmesh_client import Token
from secmesh_client.aio import TokenFile
from services.tenancy.account_servicer import AccountServicer
from services.tenancy.api_key_servicer import ApiKeyServicer
from services.tenancy.clock import SystemClock
from services.tenancy.cost_servicer import CostServicer
from services.tenancy.credential_servicer import CredentialServicer
from services.tenancy.credentials.aws_access_keys import AwsAccessKeys
from services.tenancy.credentials.aws_secrets import AwsSecrets
from services.tenancy.credentials.aws_sts import AwsSecurityTokens
from services.tenancy.credentials.parts import Custody
from services.tenancy.execution_servicer import ExecutionServicer
from services.tenancy.onboarding.aws_probes import AwsProber
from services.tenancy.onboarding_servicer import OnboardingServicer
from services.tenancy.other_stores import OtherStore, RemovingStore, Unasked
from services.tenancy.parts import Parts
from services.tenancy.provider_servicer import ProviderServicer
from services.tenancy.scan_result_servicer import ScanResultServicer
from services.tenancy.schedule_servicer import ScheduleServicer
from services.tenancy.service_work import TenantStore, open_issued
from services.tenancy.settings import PREFIX, TenancySettings
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.dynamodb_client import (
    EMBEDDED_READ_SECONDS,
    READ_SECONDS,
    dynamodb_client,
)
from services.tenancy.store.retrying import RetryingStore
from services.tenancy.store.telemetry import measure
from services.tenancy.tenant_servicer import TenantServicer
from services.tenancy.token_servicer import TokenServicer

Registration: TypeAlias = tuple[Any, Any]
"""A servicer, after the function that adds it to a server."""
_KEY_BYTES = 32
_NO_ADDRESS = "not asked: the settings name no address of it"


def open_parts(settings: TenancySettings, others: Sequence[OtherStore] = ()) -> Parts:
    """Open what the settings name; ``parts.close`` lets go of it.

    ``others`` are asked when a tenant leaves (``open_others``).
    """
    clock = SystemClock()
    chance = random.Random()  # noqa: S311 - for jitter
    client = dynamodb_client(
        settings.aws_region,
        settings.store_endpoint,
        connections=settings.store_calls,
        read_seconds=EMBEDDED_READ_SECONDS if settings.is_embedded else READ_SECONDS,
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
        custody=open_custody(settings),
        others=others,
    )


def open_others(settings: TenancySettings) -> Sequence[OtherStore]:
    """Open what asks the other services when a tenant leaves: as oneself, or as each caller.

    CommandFailed if the settings name half of a service credential, or two ways to have tokens.
    """
    file, issued = settings.removal_token_file, open_issued(settings)
    if issued is not None and file is not None:
        raise CommandFailed(f"{PREFIX}REMOVAL_TOKEN_FILE is in place of a service credential")
    token: Token = callers_token if file is None else TokenFile(file)
    opened = _others(settings, token if issued is None else issued.token)
    if issued is None:
        return list(opened.values())
    # Who is not asked needs no token.
    return [
        each if isinstance(each, Unasked) else TenantStore(name, each, issued)
        for name, each in opened.items()
    ]


def _others(settings: TenancySettings, token: Token) -> Mapping[str, OtherStore]:
    inventory, security, crypto = (
        settings.inventory_address,
        settings.security_address,
        settings.crypto_address,
    )
    own = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        own = KeyPair(settings.tls_certificate, settings.tls_key)
    asked = [
        ("inventory", inventory, settings.inventory_ca, InventoryRemovalStub),
        ("security", security, settings.security_ca, SecurityRemovalStub),
        ("crypto", crypto, settings.crypto_ca, CryptoRemovalStub),
    ]
    return {name: _other(name, address, ca, own, token, stub) for name, address, ca, stub in asked}


def _other(
    name: str,
    address: str,
    authorities: Path | None,
    own: KeyPair | None,
    token: Token,
    stub: Callable[[grpc.aio.Channel], Any],
) -> OtherStore:
    channel = _channel(address, authorities, own, token, f"secmesh.{name}.v1")
    return Unasked(name, _NO_ADDRESS) if channel is None else RemovingStore(name, channel, stub)


def _channel(
    address: str,
    authorities: Path | None,
    own: KeyPair | None,
    token: Token,
    package: str,
) -> grpc.aio.Channel | None:
    if not address:
        return None
    credentials = None if authorities is None else client_credentials(authorities, own)
    return open_channel(address, package=package, token=token, credentials=credentials)


def open_custody(settings: TenancySettings) -> Custody:
    """Open what credentials need of AWS."""
    region, endpoint = settings.aws_region, settings.aws_endpoint_url
    return Custody(
        AwsSecrets(region, settings.secrets_kms_key, endpoint),
        AwsSecurityTokens(region, endpoint),
        AwsProber(region, endpoint),
        AwsAccessKeys(region, endpoint),
    )


def servicers(parts: Parts) -> Sequence[Registration]:
    """Give the servicers, each with the function that adds it to a server."""
    return [*_servicers(parts), *_credential_servicers(parts)]


def _credential_servicers(parts: Parts) -> Sequence[Registration]:
    if parts.credentials is None or parts.verifier is None:
        return []
    onboarding = OnboardingServicer(
        parts.verifier, parts.accounts, parts.store, parts.settings.principal_arn
    )
    return [
        (
            add_CredentialServiceServicer_to_server,
            CredentialServicer(parts.credentials, parts.pages, parts.named),
        ),
        (add_OnboardingServiceServicer_to_server, onboarding),
        *_issuer(parts),
    ]


def _issuer(parts: Parts) -> Sequence[Registration]:
    if parts.issuing is None:
        return []
    servicer = TokenServicer(parts.issuing, parts.pages, parts.named)
    return [(add_TokenServiceServicer_to_server, servicer)]


def _servicers(parts: Parts) -> Sequence[Registration]:
    return [
        (add_TenantServiceServicer_to_server, TenantServicer(parts)),
        (add_ProviderServiceServicer_to_server, ProviderServicer(parts)),
        (add_AccountServiceServicer_to_server, AccountServicer(parts)),
        (add_ApiKeyServiceServicer_to_server, ApiKeyServicer(parts)),
        (
            add_CostServiceServicer_to_server,
            CostServicer(parts.tenants, parts.settings.index_shards),
        ),
        (add_ScheduleServiceServicer_to_server, ScheduleServicer(parts)),
        (add_ExecutionServiceServicer_to_server, ExecutionServicer(parts)),
        (add_ScanResultServiceServicer_to_server, ScanResultServicer(parts)),
    ]
