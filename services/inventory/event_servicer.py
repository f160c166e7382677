"""EventService: hints of AWS accounts over gRPC."""

import asyncio
from collections.abc import Iterable

from google.protobuf import json_format

from mesh.contract.names import tenant_of
from secmesh.inventory.v1 import event_service_pb2 as api
from secmesh.inventory.v1 import event_service_pb2_grpc
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.run import Stores
from services.inventory.errors import EventsWaiting
from services.inventory.live.hints import (
    ACCOUNT_UNKNOWN,
    IGNORED,
    NOT_COLLECTED,
    Hint,
    Unfit,
    event_id,
    hint_of,
)
from services.inventory.live.parts import targets_of
from services.inventory.live.readings import Account, AccountReadings, Means, Ticket

DEFAULT_WAIT = 4.0
"""Seconds that an answer waits where the request does not say: EventBridge waits 5."""
_IGNORED = api.EventResult.STATE_IGNORED
_REFUSED = api.EventResult.STATE_REFUSED
_ENDED_WITHOUT = frozenset({Sync.STATE_FAILED, Sync.STATE_CANCELLED})


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """Has read again what events tell of."""

    def __init__(self, means: Means, stores: Stores) -> None:
        self._means = means
        self._stores = stores
        self._accounts: dict[tuple[str, str], AccountReadings] = {}

    async def close(self) -> None:
        """Begin no more readings."""
        for each in list(self._accounts.values()):
            await each.close()

    async def PostEvents(  # noqa: N802  # the contract's name
        self, request: api.PostEventsRequest, _context: object
    ) -> api.PostEventsResponse:
        tenant = tenant_of(request.parent) or ""
        wait = request.wait.ToTimedelta().total_seconds() if request.HasField("wait") else None
        asked: list[tuple[api.EventResult, list[Ticket]]] = []
        known: dict[str, AccountReadings | None] = {}
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
        self._forget_idle()
        return _answer(asked)

    async def _asked(
        self,
        tenant: str,
        hint: Hint,
        known: dict[str, AccountReadings | None],
        tickets: list[Ticket],
    ) -> Unfit | None:
        """Have read what one event tells of; what is asked for is added to ``tickets``."""
        account = hint.cloud_account_id
        if account not in known:
            known[account] = await self._readings(tenant, account)
        readings = known[account]
        if readings is None:
            return Unfit(ACCOUNT_UNKNOWN)
        collectors, units = self._means.registry.collectors, readings.account.units
        targets = targets_of(hint, collectors, units)
        tickets += [readings.ask(target) for target in targets]
        return None if targets else Unfit(NOT_COLLECTED)

    async def _readings(self, tenant: str, cloud_account_id: str) -> AccountReadings | None:
        """Give the readings of an account that the tenant has had read; None of any other."""
        latest = await self._stores.syncs.latest_read(tenant, cloud_account_id)
        if latest is None:
            return None
        units = await self._stores.records.units_read(tenant, cloud_account_id)
        account = Account(tenant, cloud_account_id, latest.account, units)
        key = (tenant, cloud_account_id)
        found = self._accounts.get(key)
        if found is None:
            found = self._accounts[key] = AccountReadings(self._means, account)
        found.account = account
        return found

    def _forget_idle(self) -> None:
        """Keep no account whose last reading is too long ago to matter."""
        for key, each in list(self._accounts.items()):
            if each.forgettable:
                del self._accounts[key]


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
