"""EventService: hints of AWS accounts over gRPC, and what turns by them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import cast

from google.protobuf import json_format

from mesh.contract.names import tenant_of
from secmesh.inventory.v1 import event_service_pb2 as api
from secmesh.inventory.v1 import event_service_pb2_grpc
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.records.v1.watch_pb2 import WatchBookmark
from services.inventory.alerts.following import Following
from services.inventory.alerts.numbered_store import Choice
from services.inventory.errors import EventsWaiting
from services.inventory.live.check_turn_store import CHECK_TURNS
from services.inventory.live.hints import (
    ACCOUNT_UNKNOWN,
    IGNORED,
    NOT_COLLECTED,
    Hint,
    Unfit,
    event_id,
    hint_of,
)
from services.inventory.live.live_accounts import Known, LiveAccounts
from services.inventory.live.readings import Ticket

DEFAULT_WAIT = 4.0
"""Seconds that an answer waits where the request does not say: EventBridge waits 5."""
NEWEST_FIRST = "sequence desc"
_IGNORED = api.EventResult.STATE_IGNORED
_REFUSED = api.EventResult.STATE_REFUSED
_ENDED_WITHOUT = frozenset({Sync.STATE_FAILED, Sync.STATE_CANCELLED})


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """Has read again what events tell of, and tells which checks turned."""

    def __init__(self, accounts: LiveAccounts, draining: asyncio.Event) -> None:
        """``draining`` is set when the server begins to stop; streams then end in band."""
        self._accounts = accounts
        self._means = accounts.means
        self._turns = accounts.means.turns
        self._following = Following(self._turns.kept, draining)

    async def PostEvents(  # noqa: N802  # the contract's name
        self, request: api.PostEventsRequest, _context: object
    ) -> api.PostEventsResponse:
        tenant = tenant_of(request.parent) or ""
        wait = request.wait.ToTimedelta().total_seconds() if request.HasField("wait") else None
        asked: list[tuple[api.EventResult, list[Ticket]]] = []
        known: Known = {}
        for event in request.events:
            read = json_format.MessageToDict(event)
            result = api.EventResult(event_id=event_id(read))
            asked.append((result, []))
            hint = hint_of(read, self._means.runner.knows_region, self._means.events)
            unfit = hint if isinstance(hint, Unfit) else None
            if isinstance(hint, Hint):
                unfit = await self._asked(tenant, hint, known, asked[-1][1])
            if unfit is not None:
                result.state = _IGNORED if unfit.reason in IGNORED else _REFUSED
                result.reason = unfit.reason
        tickets = {ticket for _, each in asked for ticket in each}
        if tickets:
            seconds = DEFAULT_WAIT if wait is None else wait
            await asyncio.wait({ticket.done for ticket in tickets}, timeout=seconds)
        self._accounts.forget_idle()
        return _answer(asked)

    async def _asked(
        self, tenant: str, hint: Hint, known: Known, tickets: list[Ticket]
    ) -> Unfit | None:
        """Have read what one event tells of; what is asked for is added to ``tickets``."""
        begun = await self._accounts.ask(tenant, hint, known)
        if begun is None:
            return Unfit(ACCOUNT_UNKNOWN)
        tickets += begun
        return None if begun else Unfit(NOT_COLLECTED)

    async def ListCheckTurns(  # noqa: N802  # the contract's name
        self, request: api.ListCheckTurnsRequest, _context: object
    ) -> api.ListCheckTurnsResponse:
        page = await self._turns.kept.store.page(
            CHECK_TURNS,
            request.parent,
            filter=request.filter,
            order_by=NEWEST_FIRST,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[CheckTurn]", page.items)
        return api.ListCheckTurnsResponse(check_turns=found, next_page_token=page.next_page_token)

    async def WatchCheckTurns(  # noqa: N802  # the contract's name
        self, request: api.WatchCheckTurnsRequest, _context: object
    ) -> AsyncIterator[api.WatchCheckTurnsResponse]:
        """Send turns and bookmarks until the time is over, then how the stream ended.

        ResourceNotFound if there is no such plan.
        """
        choice = Choice(request.filter)
        if request.ssp:
            checks = await self._turns.checks_of_plan(request.ssp)
            choice = Choice(request.filter, among=("check_id", checks))
        tenant = tenant_of(request.parent) or ""
        async for event in self._following.watch(tenant, request.revision, choice):
            yield api.WatchCheckTurnsResponse(
                revision=str(event.place),
                check_turn=event.told,
                bookmark=WatchBookmark() if event.is_bookmark else None,
                ended=event.ended,
            )


def _answer(asked: Iterable[tuple[api.EventResult, list[Ticket]]]) -> api.PostEventsResponse:
    """Answer with what has ended and what goes on. Raises what kept a reading from its end."""
    answer = api.PostEventsResponse()
    told: dict[str, api.EventReading] = {}
    for result, tickets in asked:
        if tickets:
            result.state = max(_state(ticket, told) for ticket in tickets)
            result.syncs.extend(sorted({ticket.sync for ticket in tickets}))
        answer.results.append(result)
    answer.readings.extend(told[name] for name in sorted(told))
    return answer


def _state(ticket: Ticket, told: dict[str, api.EventReading]) -> api.EventResult.State.ValueType:
    if ticket.done.done():
        reading = told.setdefault(ticket.sync, ticket.done.result())
        failed = reading.sync.state in _ENDED_WITHOUT
        return api.EventResult.STATE_FAILED if failed else api.EventResult.STATE_READ
    if not ticket.sync:
        raise EventsWaiting(ticket.account)
    return api.EventResult.STATE_READING
