"""Phishing campaigns over one real server on one real PostgreSQL, from launch to numbers."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.identifiers import new_uuid
from mesh.records.moments import now
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.security.v1 import phishing_campaign_pb2 as campaign
from secmesh.security.v1 import phishing_service_pb2 as pb
from secmesh.security.v1.phishing_service_pb2_grpc import PhishingServiceStub
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.user_pb2 import (
    USER_ROLE_SERVICE,
    USER_ROLE_VIEWER,
    USER_STATUS_ACTIVE,
    USER_STATUS_DEACTIVATED,
)
from secmesh_client import CallRefused
from tests.service.mfa_world import Factors
from tests.service.security_world import KINDS, World, copy_of, refused

STATUS = campaign.PhishCampaignStatus
RUNS, SENT_ALL = STATUS.PHISH_CAMPAIGN_STATUS_IN_PROGRESS, STATUS.PHISH_CAMPAIGN_STATUS_EMAILS_SENT
SENT, OPENED = pb.PHISHING_EVENT_TYPE_SENT, pb.PHISHING_EVENT_TYPE_OPENED
CLICKED, SUBMITTED = pb.PHISHING_EVENT_TYPE_CLICKED, pb.PHISHING_EVENT_TYPE_SUBMITTED
REPORTED, FAILED = pb.PHISHING_EVENT_TYPE_REPORTED, pb.PHISHING_EVENT_TYPE_SEND_FAILED
RECORDED, KNOWN = pb.PHISHING_EVENT_OUTCOME_RECORDED, pb.PHISHING_EVENT_OUTCOME_KNOWN
NOBODY = pb.PHISHING_EVENT_OUTCOME_NO_RECIPIENT


@dataclass
class Phishing:
    """A served database with two teams and a department of people."""

    world: World
    number: int = 0

    def stub_of(self, tenant: str, role: str) -> Any:
        return self.world.stub_of(tenant, PhishingServiceStub, role)

    def make(self, collection: str, **values: Any) -> Any:
        """Create a record with what it must have, and these values."""
        self.number += 1
        kind = KINDS[collection]
        *parents, request = self.world.plan(kind, f"phishing{self.number}", whole=False)
        body = getattr(request.record, kind.body_field or "")
        for name, value in values.items():
            if isinstance(value, list):
                getattr(body, name).extend(value)
            else:
                setattr(body, name, value)
        needed = [each for each in parents if f"{each.parent}/{each.record_id}" in str(body)]
        return self.world.write([*needed, request])[-1]

    def person(self, **values: Any) -> Any:
        return self.make(
            "users", **{"status": USER_STATUS_ACTIVE, "role": USER_ROLE_VIEWER, **values}
        )

    def team(self, people: Sequence[Any], **values: Any) -> Any:
        team = self.make("teams", **values)
        for each in people:
            self.make("team_members", team_id=team.name, user_id=each.name)
        return team

    def campaign(self, **values: Any) -> Any:
        created = STATUS.PHISH_CAMPAIGN_STATUS_CREATED
        return self.make("phishing_campaigns", **{"status": created, **values})

    def read(self, record: Any) -> Any:
        return self.world.stub.GetRecord(GetRecordRequest(name=record.name))

    def results(self, record: Any) -> list[Any]:
        request = ListRecordsRequest(
            parent="tenants/acme/phishing_results",
            filter=f'campaign_id == "{record.name}"',
            order_by="email",
            page_size=1000,
        )
        return list(self.world.stub.ListRecords(request).records)

    def keys(self, record: Any) -> list[str]:
        return [each.phishing_result.recipient_key for each in self.results(record)]


@pytest.fixture(scope="module")
def phishing(factors: Factors) -> Phishing:
    return Phishing(factors.world)


@pytest.fixture(scope="module")
def stub(phishing: Phishing) -> Any:
    return phishing.stub_of("acme", "operator")


@pytest.fixture(scope="module")
def team(phishing: Phishing) -> Any:
    people = [phishing.person(department="Finance") for _ in range(4)]
    people += [phishing.person(department="Sales") for _ in range(2)]
    return phishing.team(people)


def launch(stub: Any, record: Any) -> Any:
    return stub.LaunchCampaign(pb.LaunchCampaignRequest(name=record.name))


def running(phishing: Phishing, stub: Any, team: Any) -> tuple[Any, list[str]]:
    """Launch a campaign to the team; give it and the keys of its people."""
    record = launch(stub, phishing.campaign(target_team_id=team.name))
    return record, phishing.keys(record)


def send(stub: Any, record: Any, events: Sequence[tuple[str, int]], **fields: Any) -> list[int]:
    request = pb.RecordEventsRequest(parent=record.name, **fields)
    for key, kind in events:
        event = request.events.add(recipient_key=key)
        event.type = kind  # type: ignore[assignment]  # a number of the enum
        event.event_time.FromMicroseconds(now() - 1_000_000)
    return list(stub.RecordEvents(request).outcomes)


def counts(stub: Any, record: Any, **fields: Any) -> Any:
    return stub.GetCampaignResults(pb.GetCampaignResultsRequest(name=record.name, **fields))


def test_everybody_it_goes_to_gets_one_result_with_a_key(phishing: Phishing, stub: Any) -> None:
    both = phishing.person(department="Legal")
    closed = phishing.person(status=USER_STATUS_DEACTIVATED, department="Legal")
    program = phishing.person(role=USER_ROLE_SERVICE, department="Legal")
    named, plain = phishing.person(), phishing.person()
    first = phishing.team([both, plain, closed])
    second = phishing.team([named, both])
    title = phishing.read(second).team.name
    record = phishing.campaign(target_team_id=first.name, target_groups=[title, "Legal"])
    launched = launch(stub, record)
    results = [each.phishing_result for each in phishing.results(record)]
    assert {each.user_id for each in results} == {both.name, named.name, plain.name}
    assert len(results) == launched.phishing_campaign.total_targets == 3
    assert program.name not in {each.user_id for each in results}
    assert {each.department for each in results if each.user_id == both.name} == {"Legal"}
    assert {each.email for each in results} == {
        phishing.read(each).user.email for each in (both, named, plain)
    }
    keys = {each.recipient_key for each in results}
    assert len(keys) == 3
    assert min(map(len, keys)) >= 22, "128 random bits"
    assert launched.phishing_campaign.status == RUNS
    assert launched.phishing_campaign.HasField("launch_time")
    assert launch(stub, record) == launched == phishing.read(record)


def test_many_that_launch_at_once_launch_once(phishing: Phishing, stub: Any, team: Any) -> None:
    record = phishing.campaign(target_team_id=team.name)
    with ThreadPoolExecutor(6) as pool:
        launched = list(pool.map(lambda _: launch(stub, record), range(6)))
    assert all(each == launched[0] for each in launched)
    assert len(phishing.results(record)) == 6


def test_who_has_a_result_already_keeps_it(phishing: Phishing, stub: Any, team: Any) -> None:
    record = phishing.campaign(target_team_id=team.name)
    guest = phishing.make(
        "phishing_results",
        campaign_id=record.name,
        status=campaign.PHISH_RESULT_STATUS_SCHEDULED,
        email="guest@example.org",
    )
    assert launch(stub, record).phishing_campaign.total_targets == 7
    assert phishing.read(guest) == guest


def test_a_campaign_to_nobody_is_refused(phishing: Phishing, stub: Any) -> None:
    record = phishing.campaign()
    request = pb.LaunchCampaignRequest(name=record.name)
    assert refused(stub.LaunchCampaign, request).reason == "PHISHING_TARGETS_MISSING"
    named = phishing.campaign(target_groups=["Nowhere"])
    error = refused(stub.LaunchCampaign, pb.LaunchCampaignRequest(name=named.name))
    assert (error.reason, error.metadata["group"]) == ("PHISHING_TARGETS_MISSING", "Nowhere")
    assert phishing.read(record) == record
    canceled = phishing.campaign(status=STATUS.PHISH_CAMPAIGN_STATUS_CANCELED)
    error = refused(stub.LaunchCampaign, pb.LaunchCampaignRequest(name=canceled.name))
    assert error.metadata["status"] == "PHISH_CAMPAIGN_STATUS_CANCELED"


def test_one_that_is_to_begin_later_waits(phishing: Phishing, stub: Any, team: Any) -> None:
    later = Timestamp(seconds=now() // 1_000_000 + 86_400)
    record = phishing.campaign(target_team_id=team.name)
    record.phishing_campaign.launch_time.CopyFrom(later)
    phishing.world.stub.UpdateRecord(UpdateRecordRequest(record=record))
    launched = launch(stub, record).phishing_campaign
    assert launched.status == STATUS.PHISH_CAMPAIGN_STATUS_QUEUED
    assert launched.launch_time == later


def test_people_only_go_forward_and_the_numbers_follow(
    phishing: Phishing, stub: Any, team: Any
) -> None:
    record, (a, b, c, d, e, f) = running(phishing, stub, team)
    everyone = [(each, SENT) for each in (a, b, c, d, e)]
    assert send(stub, record, [*everyone, (f, FAILED)]) == [RECORDED] * 6
    assert phishing.read(record).phishing_campaign.status == SENT_ALL
    send(stub, record, [(a, SUBMITTED), (b, CLICKED), (c, OPENED), (d, REPORTED)])
    assert send(stub, record, [(a, OPENED), ("none", OPENED)]) == [RECORDED, NOBODY]
    result = {each.phishing_result.recipient_key: each for each in phishing.results(record)}
    went = {key: each.phishing_result.status for key, each in result.items()}
    assert went[a] == campaign.PHISH_RESULT_STATUS_SUBMITTED_DATA
    assert len(result[a].phishing_result.timeline) == 3
    assert result[d].phishing_result.is_reported
    held = phishing.read(record).phishing_campaign
    numbers = counts(stub, record)
    assert numbers.total == pb.CampaignNumbers(
        targets=6,
        sent=5,
        opened=3,
        clicked=2,
        submitted=1,
        reported=1,
        errors=1,
        open_rate=0.6,
        click_rate=0.4,
        submit_rate=0.2,
        report_rate=0.2,
    )
    for name in ("sent", "opened", "clicked", "submitted", "reported"):
        assert getattr(held, f"{name}_count") == getattr(numbers.total, name)
    assert (held.total_targets, held.error_count) == (6, 1)
    by_department = {each.group: each.numbers for each in numbers.groups}
    assert {each.group: each.numbers.targets for each in numbers.groups} == {
        "Finance": 4,
        "Sales": 2,
    }
    for field in ("sent", "opened", "clicked", "submitted", "reported", "errors"):
        parts = sum(getattr(each, field) for each in by_department.values())
        assert parts == getattr(numbers.total, field)
    by_team = counts(stub, record, group_by=pb.CAMPAIGN_GROUPING_TEAM)
    assert [each.group for each in by_team.groups] == [phishing.read(team).team.name]
    assert by_team.groups[0].numbers == numbers.total


def test_events_that_come_at_once_all_count(phishing: Phishing, stub: Any, team: Any) -> None:
    record, keys = running(phishing, stub, team)
    kinds = [SENT, OPENED, CLICKED, SUBMITTED, REPORTED]
    batches = [[(key, kind)] for key in keys for kind in kinds]
    with ThreadPoolExecutor(8) as pool:
        ended = Counter(str(each) for each in pool.map(lambda b: send(stub, record, b), batches))
    assert ended == {str([RECORDED]): len(batches)}
    held = phishing.read(record).phishing_campaign
    assert held.submitted_count == held.reported_count == held.sent_count == len(keys)
    assert all(len(each.phishing_result.timeline) == 5 for each in phishing.results(record))


def test_a_batch_that_is_sent_again_counts_once(phishing: Phishing, stub: Any, team: Any) -> None:
    record, keys = running(phishing, stub, team)
    request = pb.RecordEventsRequest(parent=record.name, request_id=new_uuid())
    request.events.add(recipient_key=keys[0], type=OPENED)
    first = stub.RecordEvents(request)
    assert stub.RecordEvents(request) == first
    (result,) = [
        each.phishing_result
        for each in phishing.results(record)
        if each.phishing_result.recipient_key == keys[0]
    ]
    assert len(result.timeline) == 1
    request.ClearField("request_id")
    request.events[0].event_time.CopyFrom(result.open_time)
    assert list(stub.RecordEvents(request).outcomes) == [KNOWN]


def test_what_comes_after_the_end_does_not_count(phishing: Phishing, stub: Any, team: Any) -> None:
    draft = phishing.campaign(target_team_id=team.name)
    complete = pb.CompleteCampaignRequest(name=draft.name)
    assert refused(stub.CompleteCampaign, complete).reason == "PHISHING_CAMPAIGN_STATE"
    early = pb.RecordEventsRequest(parent=draft.name)
    early.events.add(recipient_key="none", type=OPENED)
    assert refused(stub.RecordEvents, early).reason == "PHISHING_CAMPAIGN_STATE"
    record, keys = running(phishing, stub, team)
    send(stub, record, [(keys[0], SENT)])
    ended = stub.CompleteCampaign(pb.CompleteCampaignRequest(name=record.name))
    assert ended.phishing_campaign.status == STATUS.PHISH_CAMPAIGN_STATUS_COMPLETED
    assert ended.phishing_campaign.HasField("complete_time")
    assert stub.CompleteCampaign(pb.CompleteCampaignRequest(name=record.name)) == ended
    with pytest.raises(CallRefused) as late:
        send(stub, record, [(keys[0], CLICKED)])
    assert late.value.reason == "PHISHING_CAMPAIGN_STATE"
    assert counts(stub, record).total.clicked == 0
    again = pb.LaunchCampaignRequest(name=record.name)
    assert refused(stub.LaunchCampaign, again).reason == "PHISHING_CAMPAIGN_STATE"


def test_another_campaigns_key_is_nobodys(phishing: Phishing, stub: Any, team: Any) -> None:
    record, _ = running(phishing, stub, team)
    _, others = running(phishing, stub, team)
    assert send(stub, record, [(others[0], OPENED)]) == [NOBODY]


def test_no_writer_of_records_undoes_what_happened(
    phishing: Phishing, stub: Any, team: Any
) -> None:
    record, keys = running(phishing, stub, team)
    send(stub, record, [(keys[0], SENT), (keys[0], REPORTED), (keys[0], CLICKED)])
    (result,) = [r for r in phishing.results(record) if r.phishing_result.click_time.seconds]
    back, unsaid, earlier = copy_of(result), copy_of(result), copy_of(result)
    back.phishing_result.status = campaign.PHISH_RESULT_STATUS_EMAIL_SENT
    unsaid.phishing_result.is_reported = False
    earlier.phishing_result.click_time.seconds -= 60
    led = copy_of(phishing.read(record))
    led.phishing_campaign.status = STATUS.PHISH_CAMPAIGN_STATUS_COMPLETED
    for change, field in (
        (back, "phishing_result.status"),
        (unsaid, "phishing_result.is_reported"),
        (earlier, "phishing_result.click_time"),
        (led, "phishing_campaign.status"),
    ):
        error = refused(phishing.world.stub.UpdateRecord, UpdateRecordRequest(record=change))
        assert error.reason == "FIELD_INVALID"
        assert [each.field for each in error.violations] == [f"record.{field}"]
    result.phishing_result.training_assigned = True
    kept = phishing.world.stub.UpdateRecord(UpdateRecordRequest(record=result))
    assert kept.phishing_result.training_assigned
    led.phishing_campaign.status = STATUS.PHISH_CAMPAIGN_STATUS_CANCELED
    phishing.world.stub.UpdateRecord(UpdateRecordRequest(record=led))
    with pytest.raises(CallRefused) as canceled:
        send(stub, record, [(keys[0], SUBMITTED)])
    assert canceled.value.metadata["status"] == "PHISH_CAMPAIGN_STATUS_CANCELED"


def test_another_tenants_campaign_does_not_exist(phishing: Phishing, stub: Any, team: Any) -> None:
    record, keys = running(phishing, stub, team)
    strange = phishing.stub_of("beta", "admin")
    viewer = phishing.stub_of("acme", "viewer")
    events = [pb.PhishingEvent(recipient_key=keys[0], type=OPENED)]
    for method, make in (
        ("LaunchCampaign", lambda name: pb.LaunchCampaignRequest(name=name)),
        ("RecordEvents", lambda name: pb.RecordEventsRequest(parent=name, events=events)),
        ("CompleteCampaign", lambda name: pb.CompleteCampaignRequest(name=name)),
        ("GetCampaignResults", lambda name: pb.GetCampaignResultsRequest(name=name)),
    ):
        error = refused(getattr(strange, method), make(record.name))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
        none = "tenants/acme/phishing_campaigns/none"
        assert refused(getattr(stub, method), make(none)).reason == "RESOURCE_NOT_FOUND"
        if method != "GetCampaignResults":
            assert refused(getattr(viewer, method), make(none)).reason == "PERMISSION_MISSING"
    assert counts(viewer, record).total.opened == 0


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"recipient_key": ""}, "events[0].recipient_key"),
        ({"type": 99}, "events[0].type"),
        ({"type": 0}, "events[0].type"),
        ({"source_ip": "here"}, "events[0].source_ip"),
        ({"event_time": Timestamp(seconds=4_000_000_000)}, "events[0].event_time"),
        ({"user_agent": "x" * 1025}, "events[0].user_agent"),
    ],
)
def test_bad_events_are_named(
    phishing: Phishing, stub: Any, event: dict[str, Any], field: str
) -> None:
    request = pb.RecordEventsRequest(parent="tenants/acme/phishing_campaigns/none")
    request.events.add(**{"recipient_key": "k", "type": OPENED, **event})
    error = refused(stub.RecordEvents, request)
    assert (error.reason, [each.field for each in error.violations]) == ("FIELD_INVALID", [field])
