"""Workflows that other systems start: each delivery is signed, fresh, and starts one run.

The signature is HMAC-SHA-256 (RFC 2104) with the integration's `webhook_secret` over the name of
the workflow, the id of the delivery and the second it was sent, each with a line feed behind it,
and then the payload as it is.
"""

import hashlib
import hmac
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import FieldInvalid, ResourceNotFound
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.vocabulary_operation_pb2 import IntegrationStatus
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import WebhookRefused, WorkflowInactive, WorkflowInvalid
from services.security.findings.due import moment_of
from services.security.workflows.actions import Tools
from services.security.workflows.calling import INTEGRATIONS
from services.security.workflows.json_values import read_json
from services.security.workflows.mandate import Mandate
from services.security.workflows.plan import stored_plan
from services.security.workflows.starting import Start

WINDOW_SECONDS = 300
"""How far the time of a delivery may be from ours."""
_SECOND = 1_000_000
_WEBHOOK = WorkflowTrigger.WORKFLOW_TRIGGER_WEBHOOK


def signature_of(secret: str, name: str, delivery: str, second: int, payload: bytes) -> str:
    """Sign a delivery, as the header of the same form has it."""
    signed = f"{name}\n{delivery}\n{second}\n".encode() + payload
    return f"sha256={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


class Webhooks:
    """Takes deliveries within transactions of the caller."""

    def __init__(self, tools: Tools, editor: RecordEditor) -> None:
        self._tools = tools
        self._editor = editor

    async def check(self, workflow: str, content: Any) -> None:
        """Refuse to activate what nobody could start; WorkflowInvalid."""
        if content.trigger_type != _WEBHOOK:
            return
        integration = content.trigger_config.integration
        if not integration.startswith(f"tenants/{required_tenant(workflow)}/{INTEGRATIONS}/"):
            raise WorkflowInvalid("", "trigger_config names no integration of this tenant")
        if not await self._secret(integration):
            raise WorkflowInvalid("", f"trigger_config: {integration} has no webhook_secret")

    async def receive(self, connection: AsyncConnection, request: pb.ReceiveWebhookRequest) -> Any:
        """Give the run that a delivery starts, or that it started before.

        WorkflowInactive, WorkflowInvalid, WebhookRefused, MandateEnded, FieldInvalid.
        """
        await self._editor.find(connection, request.name)
        plan = await self._tools.runs.current_plan(connection, request.name)
        if plan is None:
            raise WorkflowInactive(request.name)
        content = stored_plan(plan.content).workflow
        if plan.trigger_type != _WEBHOOK:
            raise WorkflowInvalid("", "is not started by a webhook")
        await self._verify(content.trigger_config.integration, request)
        await Mandate(self._editor.users, plan, request.name).authority(connection)
        declared = [each.key for each in content.definition.parameters]
        payload = _object(request.payload)
        start = Start(
            f"webhook:{request.delivery_id}",
            _WEBHOOK,
            content.trigger_config.integration,
            {name: payload[name] for name in declared if name in payload},
        )
        return await self._tools.starter.start(connection, request.name, start)

    async def _verify(self, integration: str, request: pb.ReceiveWebhookRequest) -> None:
        sent = moment_of(request, "send_time")
        if abs(self._editor.clock() - sent) > WINDOW_SECONDS * _SECOND:
            raise WebhookRefused(f"it was not sent within {WINDOW_SECONDS} s")
        secret = await self._secret(integration)
        wanted = signature_of(
            secret, request.name, request.delivery_id, sent // _SECOND, request.payload
        )
        # Compared even without a secret, so that time tells nothing.
        if not hmac.compare_digest(wanted, request.signature) or not secret:
            raise WebhookRefused("its signature is wrong")

    async def _secret(self, integration: str) -> str:
        """Give what deliveries are signed with; empty if the integration is switched off."""
        try:
            record: Any = await self._tools.records.store.get(
                INTEGRATIONS, integration, secrets=True
            )
        except ResourceNotFound:
            return ""
        body = record.external_integration
        off = body.status == IntegrationStatus.INTEGRATION_STATUS_DISABLED
        return "" if off or not body.is_enabled else str(body.webhook_secret)


def _object(payload: bytes) -> dict[str, Any]:
    """Read a payload; FieldInvalid for what is no object of JSON."""
    try:
        found = read_json(payload.decode())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise FieldInvalid.of("payload", "must be an object of JSON", "PAYLOAD_INVALID")
    return found
