"""Calls of other systems by integrations, each told in `integration_logs` as it ended."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh.errors import ReferenceNotFound, Refusal
from mesh.sql.transactions import act_as
from secmesh.security.v1.external_integration_pb2 import SyncDirection
from secmesh.security.v1.integration_log_pb2 import IntegrationLog, LogLevel
from secmesh.security.v1.vocabulary_operation_pb2 import Outcome
from services.security.editing import RecordEditor, required_tenant
from services.security.findings.due import set_moment
from services.security.workflows.egress import Answer, Egress, EgressFailed, EgressRefused, Outgoing
from services.security.workflows.operations import Authority, Records
from services.security.workflows.requests import outgoing

INTEGRATIONS, LOGS = "external_integrations", "integration_logs"
_OK = range(200, 300)


@dataclass(frozen=True)
class Asked:
    """What is asked of another system."""

    integration: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    key: str
    """Names the request, so that the other system can tell a repetition."""


@dataclass(frozen=True)
class Exchange:
    """How a call ended."""

    answer: Answer | None = None
    problem: str = ""
    """Why it failed; empty if it did not."""


class Caller:
    """Calls integrations for those who may, and writes down each call that was begun."""

    def __init__(self, records: Records, egress: Egress, editor: RecordEditor) -> None:
        self._records = records
        self._egress = egress
        self._editor = editor

    async def call(self, who: Authority, asked: Asked, seconds: float) -> Exchange:
        """Make a call that takes at most so many seconds; Refusal if there is nobody to call."""
        who.require(f"security.{INTEGRATIONS}.call")
        integration: Any = await self._records.store.get(
            INTEGRATIONS, asked.integration, secrets=True
        )
        began, request = self._editor.clock(), None
        try:
            request = outgoing(
                integration.external_integration,
                asked.method,
                asked.path,
                asked.headers,
                asked.body,
                asked.key,
            )
            answer = await self._egress.send(request, seconds)
        except (EgressRefused, EgressFailed) as error:
            exchange = Exchange(problem=str(error))
        except Refusal as error:
            exchange = Exchange(problem=error.message)
        else:
            problem = "" if answer.status in _OK else f"was answered with {answer.status}"
            exchange = Exchange(answer, problem)
        await self._tell(who, asked, request, exchange, began)
        return exchange

    async def _tell(
        self,
        who: Authority,
        asked: Asked,
        request: Outgoing | None,
        exchange: Exchange,
        began: int,
    ) -> None:
        failed, ended = bool(exchange.problem), self._editor.clock()
        log: Any = IntegrationLog(
            integration_id=asked.integration,
            direction=SyncDirection.SYNC_DIRECTION_OUTBOUND,
            operation="workflow.call",
            level=LogLevel.LOG_LEVEL_WARN if failed else LogLevel.LOG_LEVEL_INFO,
            outcome=Outcome.OUTCOME_FAILURE if failed else Outcome.OUTCOME_SUCCESS,
            request_id=asked.key,
            http_method=asked.method,
            duration_ms=max(0, ended - began) // 1000,
        )
        if request is not None:
            import httpx

            # What stands in a query may be a secret.
            log.url = str(httpx.URL(request.url).copy_with(query=None))[:2048]
        if exchange.answer is not None:
            log.status_code = exchange.answer.status
        if failed:
            log.error_message = exchange.problem[:8192]
        set_moment(log, "event_time", began)
        tenant = required_tenant(asked.integration)
        # Who deleted the integration meanwhile, deleted its log.
        with contextlib.suppress(ReferenceNotFound):
            async with self._records.store.transaction() as connection:
                await act_as(connection, who.actor)
                await self._editor.add(connection, tenant, LOGS, log)
