"""Schedules on DynamoDB's adapter as on the exact store: changed, claimed, due, retimed."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.tenancy.v1 import schedule_pb2 as messages
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from services.tenancy.__main__ import TENANCY
from services.tenancy.errors import AccountFiresExceeded
from services.tenancy.gate import COUNTERS, Gate, opened
from services.tenancy.schedule_listing import ScheduleListing
from services.tenancy.schedule_resources import Schedules
from services.tenancy.schedule_retiming import Retimed, Retiming
from services.tenancy.schedule_runs import ScheduleRuns
from services.tenancy.scheduling.claims import claim_of
from services.tenancy.scheduling.scheduler import SchedulerPace
from services.tenancy.store.idempotency import Requests
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.pages import PageTokens
from services.tenancy.store.port import Put, Remove, Set, Store, Update
from services.tenancy.timing.zones import TZDATA_VERSION
from services.tenancy.writing import NamedRequest
from tests.service.tenancy_stores import REGION, embedded_store, made_tables, new_tenant
from tests.unit.tenancy_clock import TurnedClock

SHARDS = 2
EIGHT = 1_800_000_000
"""Friday, 15 January 2027, 08:00 in UTC."""
HOUR = 3600
NO_POLICY = messages.OVERLAP_POLICY_UNSPECIFIED


@pytest.fixture(scope="module")
def embedded(aws: AwsEndpoint) -> Iterator[Store]:
    with embedded_store(aws.url, made_tables(aws.url)) as made:
        yield made


@dataclass
class Place:
    """A tenant with an account, in a store of one kind."""

    store: Store
    clock: TurnedClock
    scope: TenantScope
    schedules: Schedules
    runs: ScheduleRuns
    listing: ScheduleListing

    def request(self, request_id: str = "") -> NamedRequest:
        requests = Requests(self.store, self.clock, b"k" * 32)
        asked = pb.GetScheduleRequest(name=request_id)
        return NamedRequest(requests, self.scope, request_id, asked)

    async def create(self, expression: str, **more: object) -> messages.Schedule:
        given = messages.Schedule(account_id="a1", schedule_name="x", expression=expression)
        given.MergeFrom(messages.Schedule(**more))  # type: ignore[arg-type]  # any fields
        made = f"s-{uuid.uuid4()}"
        request = self.request(str(uuid.uuid4()))
        return await self.schedules.create(self.scope.tenant, made, given, request)

    async def due(self) -> list[str]:
        found, _ = await self.listing.due(100, "")
        return [each.name for each in found if each.name.split("/")[1] == self.scope.tenant]


@pytest.fixture(params=["memory", "embedded"])
async def place(request: pytest.FixtureRequest) -> Place:
    clock, scope = TurnedClock(EIGHT), TenantScope(new_tenant())
    store: Store = (
        MemoryStore(clock=clock)
        if request.param == "memory"
        else request.getfixturevalue(request.param)
    )
    limits = {**dict.fromkeys(COUNTERS, 1), "schedules": 10}
    account = Put(scope.account("a1"), {"status": "ACCOUNT_STATUS_ACTIVE"})
    await store.write(opened(scope, limits), account)
    gate = Gate(store, clock)
    schedules = Schedules(store, clock, gate, SHARDS)
    runs = ScheduleRuns(store, clock, gate, schedules, SchedulerPace(shards=SHARDS))
    listing = ScheduleListing(store, clock, PageTokens([b"k" * 16], clock), SHARDS)
    return Place(store, clock, scope, schedules, runs, listing)


async def test_a_schedule_is_led_through_its_life(place: Place) -> None:
    made = await place.create("@hourly", regions=["eu-west-1"])
    assert await place.due() == []
    place.clock.turn(HOUR)
    assert await place.due() == [made.name]
    triggered = await place.runs.trigger(
        place.scope.tenant, made.name.rsplit("/", 1)[-1], NO_POLICY, "t1", place.request()
    )
    item = await place.schedules.item(*_ids(made))
    claim = await claim_of(place.store, item, place.clock.now(), SchedulerPace(shards=SHARDS))
    assert claim is not None
    await place.store.write(*claim.actions)
    assert await place.due() == []
    after = await place.schedules.get(*_ids(made))
    assert after.next_fire_time.seconds == EIGHT + 2 * HOUR
    assert after.last_fire_time.seconds == EIGHT + HOUR
    assert after.last_execution_id == triggered.name.rsplit("/", 1)[-1]
    paused = await place.schedules.pause(made.name, "", after.etag, place.request())
    assert not paused.HasField("next_fire_time")
    deleted = await place.schedules.delete(made.name, "", place.request())
    assert deleted.HasField("purge_time")
    back = await place.schedules.undelete(made.name, "", place.request())
    assert (back.state, list(back.regions)) == (messages.SCHEDULE_STATE_PAUSED, ["eu-west-1"])
    resumed = await place.schedules.resume(made.name, "", place.request())
    assert resumed == await place.schedules.get(*_ids(made))
    place.clock.turn(HOUR)
    assert await place.due() == [made.name]
    await place.schedules.delete(made.name, "", place.request())


async def test_the_fires_of_an_account_are_counted(place: Place) -> None:
    often = await place.create("*/5 * * * *")
    with pytest.raises(AccountFiresExceeded):
        await place.create("@daily")
    less = messages.Schedule(name=often.name, expression="*/6 * * * *")
    await place.schedules.update(less, [], place.request())
    daily = await place.create("@daily")
    listed, _ = await place.listing.of_account(place.scope.tenant, "a1", 10, "", deleted=False)
    assert {each.name for each in listed} == {often.name, daily.name}
    for each in (often, daily):
        await place.schedules.delete(each.name, "", place.request())


async def test_schedules_are_computed_anew_for_new_time_zones(place: Place) -> None:
    wrong = await place.create("30 2 * * *", time_zone="Europe/Berlin")
    right = await place.create("@daily")
    lost = await place.create("@daily", time_zone="Asia/Tokyo")
    paused = await place.create("@daily")
    await place.schedules.pause(paused.name, "", "", place.request())
    due = await place.create("@hourly")
    # As a process of an older release left them, in which Berlin is an hour further.
    await _rewrite(place, wrong, Set("next_fire_time", (EIGHT + 12 * HOUR) * 1_000_000))
    await _rewrite(place, lost, Set("time_zone", "Asia/Atlantis"))
    place.clock.turn(HOUR)
    retiming = Retiming(place.store, place.clock, SHARDS)
    expected = Retimed(looked_at=4, moved=1, unreadable=1)
    assert await retiming.run(dry_run=True) == expected
    assert (await place.schedules.get(*_ids(wrong))).next_fire_time.seconds == EIGHT + 12 * HOUR
    assert await retiming.run() == expected
    moved = await place.schedules.get(*_ids(wrong))
    assert (moved.next_fire_time, moved.tzdata_version) == (wrong.next_fire_time, TZDATA_VERSION)
    assert await retiming.run() == Retimed(looked_at=4, moved=0, unreadable=1)
    assert await place.due() == [due.name]
    assert (await place.schedules.get(*_ids(right))).next_fire_time == right.next_fire_time
    for each in (wrong, right, paused, due):
        await place.schedules.delete(each.name, "", place.request())
    await place.store.write(Update(place.scope.schedule(_ids(lost)[1]), [Remove("due_pk")]))


async def _rewrite(place: Place, schedule: messages.Schedule, change: Set) -> None:
    key = place.scope.schedule(_ids(schedule)[1])
    await place.store.write(Update(key, [change, Set("tzdata_version", "1999a")]))


def _ids(schedule: messages.Schedule) -> tuple[str, str]:
    _, tenant, _, schedule_id = schedule.name.split("/")
    return tenant, schedule_id


def test_the_command_says_how_many_schedules_wait(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for table, name in made_tables(aws.url).items():
        monkeypatch.setenv(table.variable, name)
    for arguments, moved in (([], "moved"), (["--dry-run"], "would move")):
        assert TENANCY.main(["retime-schedules", *arguments]) == 0
        expected = f"time zones {TZDATA_VERSION}: 0 schedules wait, 0 {moved}, 0 of a zone that"
        assert expected in capsys.readouterr().out
