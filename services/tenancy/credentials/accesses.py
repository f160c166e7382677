"""Entries of the access log, as they are made within a call."""

from dataclasses import dataclass

from mesh.server.call import find_current_call
from secmesh.tenancy.v1 import credential_access_pb2 as pb
from services.tenancy.credentials.access_log import AccessLog
from services.tenancy.credentials.telemetry import used
from services.tenancy.store.keys import TenantScope

SERVICE = "secmesh-tenancy"
"""Who does what nobody asked for, such as a roll-back by itself."""


@dataclass(frozen=True)
class Use:
    """Who uses a credential, and what for."""

    subject: str = SERVICE
    request_id: str = ""
    purpose: str = ""
    execution_id: str = ""


def use_of_call(purpose: str = "", execution_id: str = "") -> Use:
    """Give the use that the current call makes."""
    call = find_current_call()
    if call is None:
        return Use(purpose=purpose, execution_id=execution_id)
    return Use(call.caller.subject, call.request_id, purpose, execution_id)


@dataclass(frozen=True)
class Accesses:
    """Writes entries."""

    log: AccessLog

    async def record(
        self,
        scope: TenantScope,
        account_id: str,
        action: "pb.CredentialAction.ValueType",
        use: Use,
        *,
        version: int = 0,
        granted: bool = True,
    ) -> None:
        """Add an entry; it is durable when this returns."""
        entry = pb.CredentialAccess(
            account_id=account_id,
            action=action,
            subject=use.subject,
            purpose=use.purpose,
            credential_version=version,
            execution_id=use.execution_id,
            request_id=use.request_id,
            granted=granted,
        )
        await self.log.record(scope, entry)
        used(action, granted=granted)
