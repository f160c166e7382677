"""Stubs of a served deployable by who calls: each token is signed and each channel opened once."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc

from mesh.identity.keys import sign_token
from secmesh_client import connect

LIFETIME = timedelta(hours=2)
"""Of tokens: a served database is shared by all tests of a process."""


class Callers:
    """Who calls one served address."""

    def __init__(self, address: str, keys: Path) -> None:
        self._address = address
        self._keys = keys
        self._channels: dict[object, grpc.Channel] = {}

    def stub_of(
        self,
        tenant: str,
        service: Callable[[grpc.Channel], Any],
        *roles: str,
        **claims: Any,
    ) -> Any:
        """Give a service, called by somebody with these roles; ``claims`` as ``channel`` has."""
        return service(self.channel(tenant, *roles, **claims))

    def channel(
        self,
        tenant: str,
        *roles: str,
        permissions: tuple[str, ...] = (),
        tenants: tuple[str, ...] = (),
        subject: str = "ann",
    ) -> grpc.Channel:
        """Give the channel of a caller, who may act for other ``tenants`` too."""
        key = tenant, roles, permissions, tenants, subject
        if key not in self._channels:
            token = sign_token(
                self._keys,
                subject=subject,
                tenant=tenant,
                roles=roles,
                permissions=permissions,
                tenants=tenants,
                lifetime=LIFETIME,
            )
            self._channels[key] = connect(self._address, token=token)
        return self._channels[key]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
