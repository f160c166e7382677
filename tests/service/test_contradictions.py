"""Contradictions are found once, in the order of commits, and followed over streams that end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.sql.changes import Revision
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import contradiction_service_pb2 as api
from secmesh.inventory.v1 import contradiction_service_pb2_grpc as stubs
from secmesh.inventory.v1.check_pb2 import SEVERITY_UNSPECIFIED
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.alerts.contradiction_store import ContradictionStore
from services.inventory.alerts.turning import turned
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.contradiction_servicer import ContradictionServicer
from tests.service.compliance_world import (
    CATALOGUE,
    NOW,
    SSP,
    TENANT,
    World,
    document,
    new_world,
    requirement,
)
from tests.service.server_fixtures import PACKAGE, running

DRAIN = timedelta(minutes=1)
ALL = ("111122223333", "444455556666")
"""The accounts that were collected."""
CONTRADICTED, WEAKENED = pb.VERDICT_CONTRADICTED, pb.VERDICT_WEAKENED


@dataclass
class Site:
    world: World
    stub: "stubs.ContradictionServiceAsyncStub"
    draining: asyncio.Event
    assessments: int = 0

    async def assess(
        self, *accounts: str, hours: float | None = None, **claims: pb.Verdict.ValueType
    ) -> pb.Assessment:
        """Store an assessment whose claims have these verdicts, the next one or one of an hour."""
        self.assessments += 1
        made = assessment(self.assessments, accounts, hours)
        await AssessmentStore(self.world.store).add(made, verdicts(made, claims))
        return made

    async def listed(self, filter_: str = "") -> list[Contradiction]:
        request = api.ListContradictionsRequest(parent=TENANT, filter=filter_)
        return list((await self.stub.ListContradictions(request)).contradictions)

    def watch(self, revision: str = "", filter_: str = "") -> Any:
        request = api.WatchContradictionsRequest(parent=TENANT, revision=revision, filter=filter_)
        return self.stub.WatchContradictions(request)


def assessment(number: int, accounts: tuple[str, ...], hours: float | None) -> pb.Assessment:
    made = pb.Assessment(
        name=f"{TENANT}/assessments/a{number}",
        ssp=SSP,
        scope_account_ids=accounts,
        cloud_account_ids=accounts or ALL,
    )
    made.evaluate_time.FromDatetime(NOW + timedelta(hours=number if hours is None else hours))
    return made


def verdicts(made: pb.Assessment, claims: dict[str, pb.Verdict.ValueType]) -> list[pb.ClaimVerdict]:
    return [
        pb.ClaimVerdict(
            name=f"{made.name}/verdicts/{claim}",
            claim=f"{SSP}/claims/{claim}",
            control_id="ac-2",
            verdict=verdict,
            reason="It is so.",
        )
        for claim, verdict in claims.items()
    ]


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    draining = asyncio.Event()
    async with new_world(tmp_path, database) as world:

        def register(server: grpc.aio.Server) -> None:
            servicer = ContradictionServicer(ContradictionStore(world.store), draining)
            stubs.add_ContradictionServiceServicer_to_server(servicer, server)

        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            yield Site(world, stubs.ContradictionServiceStub(channel), draining)


def said(found: list[Contradiction]) -> list[tuple[str, str]]:
    """Give claim and verdict of each, the oldest first."""
    ordered = sorted(found, key=lambda each: each.sequence)
    names = [pb.Verdict.Name(each.verdict).removeprefix("VERDICT_") for each in ordered]
    return list(zip((each.claim.rpartition("/")[2] for each in ordered), names, strict=True))


async def test_each_is_told_once_until_it_was_mended_or_got_worse(site: Site) -> None:
    await site.assess(a=CONTRADICTED, b=pb.VERDICT_SUPPORTED, c=WEAKENED)
    assert said(await site.listed()) == [("a", "CONTRADICTED"), ("c", "WEAKENED")]
    await site.assess(a=CONTRADICTED, b=pb.VERDICT_OVERDUE, c=CONTRADICTED)
    assert said(await site.listed())[2:] == [("b", "OVERDUE"), ("c", "CONTRADICTED")]
    # What improved and still speaks against the claim is nothing new.
    await site.assess(a=pb.VERDICT_SUPPORTED, b=pb.VERDICT_OVERDUE, c=WEAKENED)
    await site.assess(a=CONTRADICTED, b=pb.VERDICT_INDETERMINATE, c=WEAKENED)
    found = await site.listed()
    assert said(found)[4:] == [("a", "CONTRADICTED")]
    assert [each.sequence for each in found] == [5, 4, 3, 2, 1]
    assert found[0].previous_verdict == pb.VERDICT_SUPPORTED
    assert found[0].assessment == f"{TENANT}/assessments/a4"
    assert found[0].claim_verdict == f"{TENANT}/assessments/a4/verdicts/a"
    got = await site.stub.GetContradiction(api.GetContradictionRequest(name=found[0].name))
    assert got == found[0]
    weak = await site.listed("verdict == VERDICT_WEAKENED")
    assert said(weak) == [("c", "WEAKENED")]


async def test_accounts_are_told_apart_and_an_older_assessment_tells_nothing(site: Site) -> None:
    await site.assess("111122223333", a=CONTRADICTED)
    await site.assess(a=CONTRADICTED)
    assert len(await site.listed()) == 2
    # All, and each by its name, are the same accounts.
    await site.assess(*ALL, a=CONTRADICTED)
    await site.assess(a=CONTRADICTED)
    assert len(await site.listed()) == 2
    await site.assess("111122223333", a=CONTRADICTED, b=CONTRADICTED)
    assert said(await site.listed())[2:] == [("b", "CONTRADICTED")]
    # It began before the last of its accounts, and was stored after it.
    await site.assess("111122223333", hours=2.5, a=CONTRADICTED, b=CONTRADICTED, c=CONTRADICTED)
    assert len(await site.listed()) == 3


async def test_what_is_found_at_once_is_numbered_without_gaps(site: Site) -> None:
    await asyncio.gather(*(site.assess(**{f"c{number}": CONTRADICTED}) for number in range(8)))
    found = await site.listed()
    assert [each.sequence for each in found] == list(range(len(found), 0, -1))
    assert found


async def test_a_watch_goes_on_where_it_ended(site: Site) -> None:
    await site.assess(a=CONTRADICTED)
    stream = site.watch()
    events = aiter(stream)
    first = await anext(events)
    assert (first.revision, first.WhichOneof("event")) == ("0-1", "bookmark")
    await site.assess(a=CONTRADICTED, b=CONTRADICTED)
    event = await anext(events)
    assert (event.revision, event.contradiction.claim) == ("0-2", f"{SSP}/claims/b")
    stream.cancel()
    # Nobody watches meanwhile.
    await site.assess(a=CONTRADICTED, b=CONTRADICTED, c=WEAKENED, d=CONTRADICTED)
    again = aiter(site.watch(event.revision, "verdict == VERDICT_CONTRADICTED"))
    told = [await anext(again) for _ in range(2)]
    assert told[0].revision == "0-2"
    assert told[1].contradiction.claim == f"{SSP}/claims/d"
    site.draining.set()
    rest = [each async for each in again]
    assert [each.WhichOneof("event") for each in rest] == ["bookmark", "ended"]
    assert (rest[-1].revision, rest[-1].ended.code) == ("0-4", grpc.StatusCode.UNAVAILABLE.value[0])


@pytest.mark.parametrize(
    ("revision", "filter_", "reason"),
    [
        ("0-1", "", "REVISION_GONE"),
        ("0-0-0123456789ab", "", "REVISION_GONE"),
        ("7-1", "", "FIELD_INVALID"),
        ("", "colour == 1", "FILTER_INVALID"),
    ],
)
async def test_a_watch_that_cannot_begin_is_refused(
    site: Site, revision: str, filter_: str, reason: str
) -> None:
    with pytest.raises(CallRefused) as refused:
        await anext(aiter(site.watch(revision, filter_)))
    assert refused.value.reason == reason


async def test_an_evaluation_tells_what_it_contradicts(site: Site) -> None:
    world = site.world
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="NONE", https_only=True))
    await world.plan(document(requirement("sc-28.1"), requirement("sc-8"), requirement("at-2")))
    evaluated = await world.evaluate()
    (found,) = await site.listed()
    assert found.assessment == evaluated.assessment.name
    assert found.claim_verdict == evaluated.of("sc-28.1").name
    assert found.cloud_account_ids == evaluated.assessment.cloud_account_ids
    assert found.reason == evaluated.of("sc-28.1").reason
    assert found.check_ids
    assert found.severity != SEVERITY_UNSPECIFIED
    await world.evaluate()
    assert len(await site.listed()) == 1


def test_what_the_plan_is_silent_about_is_no_contradiction() -> None:
    made = assessment(1, (), None)
    silent = pb.ClaimVerdict(name=f"{made.name}/verdicts/x", verdict=CONTRADICTED)
    assert turned(made, [silent], {}) == []


def test_the_first_place_can_be_written_and_read() -> None:
    assert Revision.parse("0-0") == (0, 0, "")
