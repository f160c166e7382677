"""Security records as they were, told by the change feed."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.embedded.postgres import Access
from mesh.errors import FieldInvalid, PageTokenInvalid, ReadTimeGone, ResourceNotFound
from mesh.sql.changes import ChangeFeed
from mesh.sql.forgetting import Forgetting
from mesh.sql.tenancy import acting_for
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.security.v1.vocabulary_pb2 import Severity
from tests.service.audit_world import Tenant, tenant_of

_NUMBERS = count()


@pytest.fixture
async def tenant(audited_database: Access) -> AsyncIterator[Tenant]:
    async with tenant_of(audited_database, f"past-{next(_NUMBERS)}") as made:
        yield made


async def moment(tenant: Tenant) -> Timestamp:
    """Give the database's own time: between two writes there is at least this call."""
    async with tenant.store.whole() as connection:
        now = await connection.scalar(sa.text("SELECT clock_timestamp()"))
    stamp = Timestamp()
    stamp.FromDatetime(now)
    return stamp


async def read(tenant: Tenant, name: str, when: Timestamp, **fields: Any) -> Any:
    with acting_for(tenant.name):
        request = GetRecordRequest(name=name, read_time=when, **fields)
        return await tenant.servicer.GetRecord(request, None)


async def listed(
    tenant: Tenant, collection: str, when: Timestamp | None, **fields: Any
) -> Sequence[Any]:
    """Give all pages of a list."""
    found: list[Any] = []
    request = ListRecordsRequest(parent=f"{tenant.parent}/{collection}", **fields)
    if when is not None:
        request.read_time.CopyFrom(when)
    while True:
        with acting_for(tenant.name):
            page: Any = await tenant.servicer.ListRecords(request, None)
        found += page.records
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def test_a_record_is_what_it_was_at_each_moment(tenant: Tenant) -> None:
    never = await moment(tenant)
    made = await tenant.create("teams", "one", name="blue", description="d", is_active=True)
    first = await moment(tenant)
    made.team.name = "red"
    changed = await tenant.update(made)
    changed.team.name = "green"
    second = await moment(tenant)
    last = await tenant.update(changed)
    third = await moment(tenant)
    await tenant.delete(last)
    made.team.name = "blue"
    assert await read(tenant, made.name, first) == made
    assert (await read(tenant, made.name, second)).team.name == "red"
    assert await read(tenant, made.name, third) == last
    for gone in (never, await moment(tenant)):
        with pytest.raises(ResourceNotFound):
            await read(tenant, made.name, gone)
    masked = await read(tenant, made.name, first, read_mask=FieldMask(paths=["team.name"]))
    assert masked.team.name == "blue"
    assert not masked.team.description


async def test_all_that_a_record_holds_comes_back_from_the_past(tenant: Tenant) -> None:
    text = 'quote " backslash \\ newline \n ünï 😀'
    request = tenant.request("database_connections", "d", name=text, port=5432)
    request.record.labels["k"] = text
    made = await tenant.write("create", request)
    project = await tenant.create("projects", "p")
    high = Severity.SEVERITY_HIGH
    issue = await tenant.create(
        "project_issues", "i", project_id=project.name, severity=high, risk_score=0.1
    )
    when = await moment(tenant)
    for record in (issue, made, project):
        await tenant.delete(record)
    for record in (made, project, issue):
        assert await read(tenant, record.name, when) == record


async def test_sealed_values_are_opened_and_secrets_stay_away(tenant: Tenant) -> None:
    policy = await tenant.create("dlp_policies", "p")
    made = await tenant.create("dlp_incidents", "i", policy_id=policy.name, content_excerpt="seen")
    user = await tenant.create("users", "u", password_hash="secret")
    when = await moment(tenant)
    await tenant.delete(made)
    await tenant.delete(user)
    assert (await read(tenant, made.name, when)).dlp_incident.content_excerpt == "seen"
    past = await read(tenant, user.name, when)
    assert past == user
    assert not past.user.HasField("password_hash")


async def test_a_list_of_the_past_is_what_was_listed_then(tenant: Tenant) -> None:
    """Filters, orders and pages hold of the past as they held then."""
    requests: list[dict[str, Any]] = [
        {"page_size": 3},
        {"page_size": 2, "order_by": "description desc"},
        {"page_size": 2, "filter": 'is_active && name.startsWith("n")', "order_by": "name"},
        {"filter": "parent_team_id == '' || has(parent_team_id)"},
        {"read_mask": FieldMask(paths=["team.name"]), "order_by": "record.update_time"},
    ]
    told: list[tuple[Timestamp, list[Sequence[Any]]]] = []

    async def look() -> None:
        then = [await listed(tenant, "teams", None, **fields) for fields in requests]
        told.append((await moment(tenant), then))

    await look()
    teams = [
        await tenant.create("teams", f"t{n}", name=f"n{n}", is_active=bool(n % 2), description="d")
        for n in range(7)
    ]
    await look()
    for number, team in enumerate(teams[:4]):
        team.team.is_active = not team.team.is_active
        team.team.description = f"changed {number}"
        teams[number] = await tenant.update(team)
    await look()
    teams[1].team.name = "other"
    teams[1] = await tenant.update(teams[1])
    await tenant.delete(teams[1])
    await tenant.delete(teams[5])
    await tenant.create("teams", "more", name="n9", parent_team_id=teams[0].name)
    await look()
    for when, then in told:
        assert [await listed(tenant, "teams", when, **fields) for fields in requests] == then


async def test_what_the_database_did_by_itself_is_of_the_past_as_well(tenant: Tenant) -> None:
    project = await tenant.create("projects", "p")
    issue = await tenant.create("project_issues", "i", project_id=project.name)
    user = await tenant.create("users", "u")
    team = await tenant.create("teams", "t", lead_user_id=user.name)
    when = await moment(tenant)
    await tenant.delete(user)
    assert not (await read(tenant, team.name, await moment(tenant))).team.HasField("lead_user_id")
    assert await read(tenant, team.name, when) == team
    assert await read(tenant, issue.name, when) == issue


async def test_another_tenants_past_is_none(tenant: Tenant, audited_database: Access) -> None:
    made = await tenant.create("teams", "one")
    when = await moment(tenant)
    await tenant.delete(made)
    async with tenant_of(audited_database, f"{tenant.name}-too") as other:
        assert await listed(other, "teams", when) == []
        with acting_for(other.name), pytest.raises(ResourceNotFound):
            await other.store.get("teams", made.name, read_time=when.ToMicroseconds())


async def test_a_page_goes_on_at_its_moment_alone(tenant: Tenant) -> None:
    for number in range(3):
        await tenant.create("teams", f"t{number}")
    when = await moment(tenant)
    request = ListRecordsRequest(parent=f"{tenant.parent}/teams", read_time=when, page_size=1)
    with acting_for(tenant.name):
        page: Any = await tenant.servicer.ListRecords(request, None)
        request.page_token = page.next_page_token
        request.read_time.CopyFrom(await moment(tenant))
        with pytest.raises(PageTokenInvalid):
            await tenant.servicer.ListRecords(request, None)


async def test_what_was_forgotten_is_refused_with_the_earliest_moment(tenant: Tenant) -> None:
    early = await moment(tenant)
    made = await tenant.create("teams", "one", name="blue")
    made.team.name = "red"
    changed = await tenant.update(made)
    after = await moment(tenant)
    changed.team.name = "green"
    await tenant.update(changed)
    await tenant.chain.catch_up(tenant.name)
    boundary = after.ToMicroseconds() + timedelta(days=1) // timedelta(microseconds=1)
    await Forgetting(ChangeFeed(tenant.store), timedelta(days=1), lambda: boundary).look()
    with pytest.raises(ReadTimeGone) as refused:
        await read(tenant, made.name, early)
    with pytest.raises(ReadTimeGone):
        await listed(tenant, "teams", early)
    assert (await read(tenant, made.name, after)).team.name == "red"
    earliest = Timestamp()
    earliest.FromJsonString(refused.value.metadata["earliest"])
    assert early.ToMicroseconds() < earliest.ToMicroseconds() <= after.ToMicroseconds()
    assert (await read(tenant, made.name, earliest)).team.name == "red"
    earliest.FromMicroseconds(earliest.ToMicroseconds() - 1)
    with pytest.raises(ReadTimeGone):
        await read(tenant, made.name, earliest)


async def test_what_refers_is_not_expanded_in_the_past(tenant: Tenant) -> None:
    when = await moment(tenant)
    with pytest.raises(FieldInvalid, match="as they are"):
        await listed(tenant, "teams", when, expand=["lead_user_id"])
    when.FromMicroseconds(2**52)
    with pytest.raises(FieldInvalid, match="future"):
        await listed(tenant, "teams", when)
