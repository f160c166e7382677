"""What is done to phishing campaigns: each act one transaction under the lock of the campaign.

The numbers that a campaign holds are counted anew in the transaction that changes its results, by
the same statement that answers for the results: they are never added up.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.records.moments import Clock, now, past_moment
from mesh.sql.store import Store
from secmesh.security.v1 import phishing_campaign_pb2 as campaign
from secmesh.security.v1 import phishing_service_pb2 as pb
from services.security.errors import PhishingCampaignState, PhishingTargetsMissing
from services.security.phishing import progress
from services.security.phishing.campaign_store import CampaignStore, Target

_KEY_BYTES = 16
"""Random bytes of a recipient's key: nobody finds another one's by trying."""
_SKEW = 60_000_000
"""Microseconds by which the clocks of other programs may be ahead."""
_COUNTERS = ("sent", "opened", "clicked", "submitted", "reported")
_ENDED = frozenset(
    {campaign.PHISH_CAMPAIGN_STATUS_COMPLETED, campaign.PHISH_CAMPAIGN_STATUS_CANCELED}
)


class Campaigns:
    """Launches, follows, ends and counts; ResourceNotFound, PhishingCampaignState."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock = now) -> None:
        self._store = store
        self._campaigns = CampaignStore(store, catalogue, clock)
        self._clock = clock

    async def launch(self, name: str) -> Any:
        """Make the results and give the campaign; PhishingTargetsMissing."""
        async with self._store.transaction() as connection:
            record = await self._campaigns.find(connection, name)
            body, tenant = record.phishing_campaign, tenant_of(name) or ""
            if body.status in _ENDED:
                raise _state(record)
            if body.HasField("total_targets"):
                return self._campaigns.shown(record)
            groups = list(body.target_groups)
            if unknown := await self._campaigns.unknown_groups(connection, tenant, groups):
                raise PhishingTargetsMissing(min(unknown))
            targets = await self._campaigns.targets(connection, record)
            bodies = [_result(name, target) for target in targets]
            await self._campaigns.add_results(connection, tenant, bodies)
            counts = await self._campaigns.count(connection, name)
            if not counts.targets:
                raise PhishingTargetsMissing
            self._begin(body)
            _hold(body, counts)
            return await self._campaigns.save(connection, record)

    def _begin(self, body: Any) -> None:
        """Let a campaign run, or wait for its time."""
        moment = self._clock()
        if not body.HasField("launch_time"):
            body.launch_time.FromMicroseconds(moment)
        if body.launch_time.ToMicroseconds() > moment:
            body.status = campaign.PHISH_CAMPAIGN_STATUS_QUEUED
        else:
            body.status = campaign.PHISH_CAMPAIGN_STATUS_IN_PROGRESS

    async def record(
        self, name: str, events: Sequence[pb.PhishingEvent]
    ) -> "list[pb.PhishingEventOutcome.ValueType]":
        """Record events and give what became of each; FieldInvalid for one that is to come."""
        moments = [self._moment(place, event) for place, event in enumerate(events)]
        async with self._store.transaction() as connection:
            record = await self._campaigns.find(connection, name)
            body = record.phishing_campaign
            if body.status in _ENDED or not body.HasField("total_targets"):
                raise _state(record)
            keys = {event.recipient_key for event in events}
            results = await self._campaigns.results(connection, name, keys)
            outcomes = [
                _noted(results.get(event.recipient_key), event, moment)
                for event, moment in zip(events, moments, strict=True)
            ]
            changed = {
                event.recipient_key: results[event.recipient_key]
                for event, outcome in zip(events, outcomes, strict=True)
                if outcome == pb.PHISHING_EVENT_OUTCOME_RECORDED
            }
            if changed:
                await self._campaigns.replace_results(connection, name, changed.values())
                counts = await self._campaigns.count(connection, name)
                _hold(body, counts)
                if counts.begun:
                    body.status = (
                        campaign.PHISH_CAMPAIGN_STATUS_IN_PROGRESS
                        if counts.waiting
                        else campaign.PHISH_CAMPAIGN_STATUS_EMAILS_SENT
                    )
                await self._campaigns.save(connection, record)
        return outcomes

    async def complete(self, name: str) -> Any:
        """End a campaign and give it; one that was ended stays as it is."""
        async with self._store.transaction() as connection:
            record = await self._campaigns.find(connection, name)
            body = record.phishing_campaign
            if body.status == campaign.PHISH_CAMPAIGN_STATUS_COMPLETED:
                return self._campaigns.shown(record)
            if body.status in _ENDED or not body.HasField("total_targets"):
                raise _state(record)
            body.status = campaign.PHISH_CAMPAIGN_STATUS_COMPLETED
            body.complete_time.FromMicroseconds(self._clock())
            _hold(body, await self._campaigns.count(connection, name))
            return await self._campaigns.save(connection, record)

    async def results(
        self, name: str, group_by: "pb.CampaignGrouping.ValueType"
    ) -> pb.CampaignResults:
        """Count a campaign's results as they are, from one snapshot."""
        async with self._store.connection() as connection:
            record = await self._campaigns.find(connection, name)
            total = await self._campaigns.count(connection, name)
            if group_by == pb.CAMPAIGN_GROUPING_TEAM:
                groups = await self._campaigns.count_by_team(connection, record)
            else:
                groups = await self._campaigns.count_by_department(connection, name)
        return pb.CampaignResults(
            name=name,
            total=_numbers(total),
            groups=[
                pb.CampaignGroup(group=each.group_name, numbers=_numbers(each)) for each in groups
            ],
        )

    def _moment(self, place: int, event: pb.PhishingEvent) -> int:
        """Give when an event was, in microseconds since 1970; FieldInvalid."""
        if not event.HasField("event_time"):
            return self._clock()
        field = f"events[{place}].event_time"
        return past_moment(event.event_time, field, lambda: self._clock() + _SKEW)


def _state(record: Any) -> PhishingCampaignState:
    status = campaign.PhishCampaignStatus.Name(record.phishing_campaign.status)
    return PhishingCampaignState(record.name, status)


def _result(name: str, target: Target) -> campaign.PhishingResult:
    """Write the result of somebody to whom nothing was sent yet."""
    result = campaign.PhishingResult(
        campaign_id=name,
        recipient_key=secrets.token_urlsafe(_KEY_BYTES),
        user_id=target.user_id,
        email=target.email,
        status=campaign.PHISH_RESULT_STATUS_SCHEDULED,
        is_reported=False,
    )
    if target.department:
        result.department = target.department
    return result


def _noted(
    result: Any | None, event: pb.PhishingEvent, moment: int
) -> "pb.PhishingEventOutcome.ValueType":
    if result is None:
        return pb.PHISHING_EVENT_OUTCOME_NO_RECIPIENT
    if progress.record(result.phishing_result, event, moment):
        return pb.PHISHING_EVENT_OUTCOME_RECORDED
    return pb.PHISHING_EVENT_OUTCOME_KNOWN


def _hold(body: Any, counts: Any) -> None:
    """Let a campaign hold what was counted."""
    body.total_targets, body.error_count = counts.targets, counts.errors
    for name in _COUNTERS:
        setattr(body, f"{name}_count", getattr(counts, name))


def _numbers(counts: Any) -> pb.CampaignNumbers:
    numbers = pb.CampaignNumbers(targets=counts.targets, errors=counts.errors)
    for name in _COUNTERS:
        setattr(numbers, name, getattr(counts, name))
    if numbers.sent:
        numbers.open_rate = numbers.opened / numbers.sent
        numbers.click_rate = numbers.clicked / numbers.sent
        numbers.submit_rate = numbers.submitted / numbers.sent
        # Records that were brought along may tell of reports of mails that were never sent.
        numbers.report_rate = min(1.0, numbers.reported / numbers.sent)
    return numbers
