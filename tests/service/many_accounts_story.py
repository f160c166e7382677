"""A sync of many accounts that is killed midway, and what must hold of it afterwards."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as compliance
from secmesh.inventory.v1 import (
    compliance_service_pb2_grpc,
    record_service_pb2_grpc,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import ListSyncsRequest, StartSyncRequest
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh_client import connect, items
from tests.service.collect_world import REGION, ROLE, TENANT, world
from tests.service.compliance_world import ALL_CHECKS, document, requirement
from tests.service.inventory_story import story, token
from tests.service.many_accounts import COLLECTIONS, ManyAccounts
from tests.service.sync_process import content, service

UNITS, READS = 8, 16
"""Threads of the collector: each may be late with one call that it was allowed to make."""
LEASE = 12
"""Seconds; each run renews its own several times in it, and there are many."""
SHARE = 0.7
QUOTA = 10
"""Calls a second that one service answers in one region of one account."""

Content = dict[tuple[str, str], tuple[bytes, str, str, int]]
Verdicts = dict[str, tuple[int, int, int, bool, frozenset[str]]]
"""By check: what passed, failed and was not read, whether all was, and what fails where."""


@dataclass
class Outcome:
    """What a sync of all accounts left."""

    runs: dict[str, Sync]
    records: Content
    verdicts: Verdicts
    seconds: float
    done_before: int
    """Units that had ended when the first process was killed."""


def plan() -> bytes:
    """Claim every control that a check of the collections says something of."""
    controls = {
        each.control_id
        for check in ALL_CHECKS.checks.values()
        if check.message.collection in COLLECTIONS
        for each in check.message.controls
    }
    return document(*(requirement(control) for control in sorted(controls)))


def collect(
    folder: Path,
    site: ManyAccounts,
    accounts: Sequence[str],
    regions: Sequence[str],
    *,
    kill: float,
    runs_at_a_time: int = 8,
    database: str = "",
) -> Outcome:
    """Sync all accounts in a process of its own, killed once a part ``kill`` of them is read.

    Without a ``database`` it stores them in a file of its own.
    """
    create_signing_key(folder / "keys")
    environment = {
        "AWS_ENDPOINT_URL": site.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SECMESH_INVENTORY_ACCOUNTS": "acme=*",
        "SECMESH_INVENTORY_ROLE": ROLE,
        "SECMESH_INVENTORY_SHARE": str(SHARE),
        "SECMESH_INVENTORY_LEASE_SECONDS": str(LEASE),
        "SECMESH_INVENTORY_RUNS": str(runs_at_a_time),
        "SECMESH_INVENTORY_UNITS": str(UNITS),
        "SECMESH_INVENTORY_READS": str(READS),
        **({"DATABASE_URL": database} if database else {}),
    }
    began, done = time.monotonic(), 0
    if kill:
        with service(folder, site, **environment) as (process, address):
            start(address, folder, accounts, regions)
            while (done := part_done(address, folder)[0]) < kill * part_done(address, folder)[1]:
                time.sleep(0.2)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
    with service(folder, site, **environment) as (_, address):
        if not kill:
            start(address, folder, accounts, regions)
        while any(each.state == Sync.STATE_RUNNING for each in runs(address, folder)):
            time.sleep(0.5)
        took = time.monotonic() - began
        found = {each.cloud_account_id: each for each in runs(address, folder)}
        verdicts = judged(address, folder)
    return Outcome(found, asyncio.run(records(folder, site, database)), verdicts, took, done)


def start(address: str, folder: Path, accounts: Sequence[str], regions: Sequence[str]) -> None:
    """Start a run for each account."""
    with connect(address, token=token(folder)) as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        for account in accounts:
            wanted = Sync(cloud_account_id=account, regions=regions, collections=COLLECTIONS)
            stub.StartSync(StartSyncRequest(parent=TENANT, sync=wanted))


def runs(address: str, folder: Path) -> list[Sync]:
    """Give all runs as they stand."""
    with connect(address, token=token(folder)) as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        request = ListSyncsRequest(parent=TENANT)
        return list(items(stub.ListSyncs, request, lambda page: page.syncs))


def part_done(address: str, folder: Path) -> tuple[int, int]:
    """Give how many units of all runs ended, and how many there are."""
    found = [each.progress for each in runs(address, folder)]
    return sum(each.units_done for each in found), sum(each.units for each in found)


def judged(address: str, folder: Path) -> Verdicts:
    """Evaluate one plan for all accounts, and list what fails in each of them."""
    found: Verdicts = {}
    with story(address, folder, "") as told:
        told.plan(plan())
        stub = compliance_service_pb2_grpc.ComplianceServiceStub(told.channel)
        listing = record_service_pb2_grpc.RecordServiceStub(told.channel)
        events = stub.Evaluate(compliance.EvaluateRequest(ssp=f"{TENANT}/ssps/main"))
        (made,) = [each.assessment for each in events if each.HasField("assessment")]
        listed = compliance.ListVerdictsRequest(parent=made.name, page_size=1000)
        for verdict in stub.ListVerdicts(listed).verdicts:
            for result in verdict.check_results:
                read = ALL_CHECKS.checks[result.check_id].message.collection in COLLECTIONS
                if read and result.check_id not in found:
                    found[result.check_id] = _said(listing, result)
    return found


def _said(
    stub: record_service_pb2_grpc.RecordServiceStub, result: pb.CheckResult
) -> tuple[int, int, int, bool, frozenset[str]]:
    collection = ALL_CHECKS.checks[result.check_id].message.collection
    request = ListRecordsRequest(parent=f"{TENANT}/{collection}", filter=result.failing_filter)
    failing = items(stub.ListRecords, request, lambda page: page.records)
    names = frozenset(f"{each.cloud_account_id} {each.region} {each.name}" for each in failing)
    return result.passed, result.failed, result.unread, result.complete, names


async def records(folder: Path, site: ManyAccounts, database: str) -> Content:
    """Give what the store holds in the end."""
    chosen = {"database_url": database} if database else {}
    async with world(site, folder, **chosen) as made:
        return await content(made)


def check(calm: Outcome, rough: Outcome, site: ManyAccounts) -> None:
    """Check that the rough run ended whole, says what the calm one says and kept its share."""
    assert {each.state for each in rough.runs.values()} == {Sync.STATE_SUCCEEDED}
    every = rough.records.keys() | calm.records.keys()
    differing = [
        (key, calm.records.get(key), rough.records.get(key))
        for key in sorted(every)
        if calm.records.get(key) != rough.records.get(key)
    ]
    assert not differing, f"{len(differing)} records differ, such as {differing[:3]}"
    assert rough.verdicts == calm.verdicts
    outcomes = Counter[str]()
    for passed, failed, unread, _complete, _failing in rough.verdicts.values():
        outcomes.update(passed=passed, failed=failed, unread=unread)
    assert outcomes["passed"]
    assert outcomes["failed"]
    assert not outcomes["unread"]
    failing = {each.split()[0] for said in rough.verdicts.values() for each in said[-1]}
    assert failing == set(rough.runs)
    for place, meter in site.meters.items():
        for seconds, calls in meter.spans():
            assert calls <= SHARE * QUOTA * seconds + UNITS + READS + 1, place
