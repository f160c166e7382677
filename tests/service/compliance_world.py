"""A tenant's store with plans, runs, manifests and records as tests describe them."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import load_catalogue
from mesh.sealing.keyring import KeyRing
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from secmesh.inventory.v1 import record_pb2, sync_pb2
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE, Assessor
from services.inventory.compliance.check_catalogue import CheckCatalogue, load_checks
from services.inventory.compliance.ssp import read_plan
from services.inventory.controls.tenant_checks import TenantChecks
from tests.derived import tables_of
from tests.inventory_store import inventory_store

CATALOGUE = load_catalogue("secmesh.inventory.v1")
ALL_CHECKS = load_checks(CATALOGUE)
FILLED = (
    "access_keys",
    "cloudtrail_trails",
    "iam_password_policy",
    "iam_users",
    "s3_account_settings",
    "s3_buckets",
    "security_groups",
)
"""Collections that these worlds fill: a claim must not need those that none of them reads."""
CHECKS = CheckCatalogue(
    {name: check for name, check in ALL_CHECKS.checks.items() if check.message.collection in FILLED}
)
TENANT = "tenants/acme"
SSP = f"{TENANT}/ssps/main"
ACCOUNT = "111122223333"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
FEDRAMP = "https://fedramp.gov/ns/oscal"
COMPONENT = "10000000-0000-4000-8000-000000000001"
LISTINGS = {
    "iam_users": "iam:GetAccountAuthorizationDetails",
    "s3_buckets": "s3:ListBuckets",
    "security_groups": "ec2:DescribeSecurityGroups",
    "cloudtrail_trails": "cloudtrail:DescribeTrails",
}
REGIONAL = frozenset({"security_groups", "cloudtrail_trails"})


def document(
    *requirements: dict[str, Any], baseline: str = "FedRAMP_rev5_MODERATE-baseline_profile.json"
) -> bytes:
    """Write a plan."""
    body = {
        "uuid": COMPONENT,
        "metadata": {"title": "Plan", "version": "1", "oscal-version": "1.1.2"},
        "import-profile": {"href": baseline},
        "system-implementation": {
            "components": [{"uuid": COMPONENT, "type": "service", "title": "Cloud"}]
        },
        "control-implementation": {"implemented-requirements": list(requirements)},
    }
    return json.dumps({"system-security-plan": body}).encode()


def requirement(control: str, state: str = "implemented", **parameters: str) -> dict[str, Any]:
    """Write what a plan says of one control."""
    number = int(sha256(control.encode()).hexdigest()[:8], 16)
    uuid = f"20000000-0000-4000-8000-{number:012d}"
    settings = [
        {"param-id": name.replace("__", "."), "values": [value]}
        for name, value in parameters.items()
    ]
    part = {
        "component-uuid": COMPONENT,
        "uuid": uuid.replace("2000", "3000", 1),
        "description": "We do it.",
        "implementation-status": {"state": state},
    }
    made: dict[str, Any] = {"uuid": uuid, "control-id": control, "by-components": [part]}
    return made | ({"set-parameters": settings} if settings else {})


def tenant_checks(store: Store, shipped: CheckCatalogue = CHECKS) -> TenantChecks:
    """Give each tenant these checks and its own."""
    return TenantChecks(store, CATALOGUE, shipped)


@dataclass
class World:
    """The store of one tenant."""

    store: Store
    syncs: int = 0
    records: dict[str, int] = field(default_factory=dict)

    async def plan(self, content: bytes) -> None:
        plan = read_plan(SSP, content, import_time=NOW)
        await AssessmentStore(self.store).replace_plan(plan)

    async def sync(
        self,
        collections: Iterable[str],
        *,
        account: str = ACCOUNT,
        regions: Sequence[str] = ("us-east-1",),
        at: datetime = NOW - timedelta(hours=1),
        denied: Iterable[str] = (),
        outcome: record_pb2.ReadOutcome.ValueType = record_pb2.READ_OUTCOME_DENIED,
    ) -> str:
        """Store a run's manifest; ``denied`` names operations that got no answer."""
        self.syncs += 1
        name = f"{TENANT}/syncs/s{self.syncs}"
        sync = sync_pb2.Sync(
            name=name, cloud_account_id=account, state=sync_pb2.Sync.STATE_SUCCEEDED
        )
        sync.start_time.FromDatetime(at)
        refused = {*denied}
        entries: list[sync_pb2.ManifestEntry] = []
        for collection in collections:
            for region in regions if collection in REGIONAL else ("global",):
                operations = {LISTINGS.get(collection, f"{collection}:Get"), *refused}
                for operation in sorted(operations):
                    entry = sync_pb2.ManifestEntry(
                        name=f"{name}/manifestEntries/{collection}-{region}-{len(entries)}",
                        cloud_account_id=account,
                        region=region,
                        collection=collection,
                        operation=operation,
                        action=operation,
                        outcome=record_pb2.READ_OUTCOME_READ,
                        calls=1,
                        listing=operation == LISTINGS.get(collection),
                    )
                    if operation in refused:
                        entry.outcome = outcome
                        entry.code = "AccessDenied"
                    entry.read_time.FromDatetime(at)
                    entries.append(entry)
        async with self.store.transaction() as connection:
            await self.store.insert(connection, "syncs", [sync])
            await self.store.insert(connection, "manifest_entries", entries)
        return name

    async def add(
        self,
        collection: str,
        *bodies: Message,
        account: str = ACCOUNT,
        region: str = "us-east-1",
        unread: dict[str, str] | None = None,
    ) -> list[str]:
        """Store current records; ``unread`` gives the action that each unread field needs."""
        kind = CATALOGUE.record_kinds[collection]
        records = []
        for body in bodies:
            number = self.records.get(collection, 0) + 1
            self.records[collection] = number
            record = record_pb2.Record(
                name=f"{TENANT}/{collection}/r{number}",
                etag="e",
                cloud_account_id=account,
                region=region,
                arn=f"arn:aws:test:::{collection}/{number}",
                sync=f"{TENANT}/syncs/s{max(self.syncs, 1)}",
                **{str(kind.body_field): body},  # type: ignore[arg-type]  # the kind names its field
            )
            record.valid_from.FromDatetime(NOW - timedelta(days=1))
            for name, action in (unread or {}).items():
                record.unread.add(
                    field=name,
                    action=action,
                    code="AccessDenied",
                    outcome=record_pb2.READ_OUTCOME_DENIED,
                )
            records.append(record)
        async with self.store.transaction() as connection:
            await self.store.insert(connection, collection, records)
        return [record.name for record in records]

    async def evaluate(
        self,
        *accounts: str,
        max_age: timedelta = DEFAULT_MAX_AGE,
        checks: CheckCatalogue = CHECKS,
    ) -> "Evaluated":
        assessor = Assessor(self.store, tenant_checks(self.store, checks), lambda: NOW)
        events = [event async for event in assessor.evaluate(SSP, accounts, max_age)]
        assessment = events[-1]
        assert isinstance(assessment, pb.Assessment)
        progress = [event for event in events if isinstance(event, api.EvaluateProgress)]
        _, _, found = await AssessmentStore(self.store).assessment(assessment.name)
        return Evaluated(assessment, progress, found)


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation gave."""

    assessment: pb.Assessment
    progress: list[api.EvaluateProgress]
    verdicts: list[pb.ClaimVerdict]

    def of(self, control: str) -> pb.ClaimVerdict:
        (found,) = [each for each in self.verdicts if each.control_id == control]
        return found

    def word(self, control: str) -> str:
        name = pb.Verdict.Name(self.of(control).verdict)
        return name.removeprefix("VERDICT_").lower()

    def result(self, control: str, check: str) -> pb.CheckResult:
        (found,) = [each for each in self.of(control).check_results if each.check_id == check]
        return found


@asynccontextmanager
async def new_world(
    folder: Path, database: str = "", keys: KeyRing | None = None
) -> AsyncIterator[World]:
    """Open a store in a folder, or in a database that has the tables and no records."""
    engine = open_engine(database or inventory_store(folder))
    try:
        yield World(Store(engine, tables_of(CATALOGUE, keys=keys), page_key=b"k" * 32))
    finally:
        await engine.dispose()
