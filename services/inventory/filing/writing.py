"""Writes what differs: findings through their life cycle, everything else as records."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import groupby
from typing import Self

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.records.v1.ingest_pb2 import IngestResult
from secmesh.security.v1 import cloud_asset_pb2
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from services.inventory.filing.changes import Change, Fate, Plan
from services.inventory.filing.identity import Key
from services.inventory.filing.security import Security
from services.inventory.filing.surroundings import ASSETS
from services.inventory.filing.weighing import Failing, Weighed

_MAX_UID = 640
_ASKED_CHARS = 3000
"""Of resource ids in one condition; a condition holds 4,096."""


@dataclass
class Outcome:
    """What became of the records of one collection."""

    counts: Counter[Fate]
    rejections: list[tuple[str, str]] = field(default_factory=list)
    """What it was about, and why."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Expect that all goes as planned."""
        return cls(plan.counts())

    def instead(self, change: Change, fate: Fate, reason: str = "") -> None:
        """Count a change as what became of it."""
        self.counts[change.fate] -= 1
        self.counts[fate] += 1
        if fate is Fate.REJECTED:
            self.rejections.append((change.subject, reason))


class Writer:
    """Writes the plans of one assessment."""

    def __init__(
        self,
        security: Security,
        parent: str,
        assessment: pb.Assessment,
        accounts: Mapping[str, str],
    ) -> None:
        self._security = security
        self._parent = parent
        self._assessment = assessment
        self._accounts = accounts
        moment = assessment.evaluate_time.ToDatetime(UTC).isoformat(timespec="seconds")
        self._source = f"Assessment {assessment.name} of {moment}"

    async def resources(self, plan: Plan, weighed: Weighed) -> Outcome:
        """Make, change, close and reopen findings about resources."""
        outcome = Outcome.of(plan)
        await self._create(plan.of(Fate.CREATED), weighed, outcome)
        closed, reopened = plan.of(Fate.CLOSED), plan.of(Fate.REOPENED)
        # By one word at a time: the security service is told why.
        closed.sort(key=lambda change: change.excepted)
        done: list[bool] = []
        for exception, changes in groupby(closed, key=lambda change: change.excepted):
            why = f"excepted by {exception}" if exception else "mended"
            done += await self._security.resolve(
                [each.known for each in changes if each.known], f"{self._source} finds it {why}."
            )
        done += await self._security.reopen(
            [each.known for each in reopened if each.known], f"{self._source} finds it again."
        )
        moved = []
        for change, stood in zip([*closed, *reopened], done, strict=True):
            if stood:
                moved.append(change)
            else:
                outcome.instead(change, Fate.LEFT)
        await self._update([*plan.of(Fate.UPDATED), *moved], outcome)
        return outcome

    async def claims(self, plan: Plan) -> Outcome:
        """Make and change the records of claims."""
        outcome = Outcome.of(plan)
        await self._update(plan.changes, outcome)
        return outcome

    async def _create(self, changes: Sequence[Change], weighed: Weighed, outcome: Outcome) -> None:
        if not changes:
            return
        failing = {key[1]: each for key, each in weighed.failing.items()}
        subjects = [failing[each.record.misconfiguration.fingerprint] for each in changes]
        assets = await self._assets(subjects)
        for change, subject in zip(changes, subjects, strict=True):
            body = change.record.misconfiguration
            body.account_id = self._accounts[subject.account]
            asset = assets.get((subject.account, subject.resource))
            if asset:
                body.asset_id = asset
        results = await self._security.ingest(self._parent, [each.record for each in changes])
        for change, result in zip(changes, results, strict=True):
            if result.outcome == IngestResult.OUTCOME_REJECTED:
                outcome.instead(change, Fate.REJECTED, result.error.message)
            elif result.outcome != IngestResult.OUTCOME_NEW:
                # Another filing was faster.
                outcome.instead(change, Fate.UNCHANGED)

    async def _assets(self, failing: Iterable[Failing]) -> dict[Key, str]:
        """Give the names of the resources' own records, which are made if they are missing."""
        wanted = {
            (each.account, each.resource): each
            for each in failing
            if each.record is not None and len(each.resource) <= _MAX_UID
        }
        found: dict[Key, str] = {}
        for account in sorted({account for account, _ in wanted}):
            uids = sorted(uid for each, uid in wanted if each == account)
            for listed in _chunks(uids):
                condition = (
                    f'account_id == "{self._accounts[account]}" && resource_uid in [{listed}]'
                )
                for record in await self._security.records(f"{self._parent}/{ASSETS}", condition):
                    found[account, record.cloud_asset.resource_uid] = record.name
        missing = [key for key in sorted(wanted) if key not in found]
        records = [self._asset(wanted[key]) for key in missing]
        if records:
            results = await self._security.ingest(self._parent, records)
            # Without its asset a finding still names the resource.
            found |= {key: each.name for key, each in zip(missing, results, strict=True)}
        return found

    def _asset(self, failing: Failing) -> Record:
        body = cloud_asset_pb2.CloudAsset(
            account_id=self._accounts[failing.account],
            resource_uid=failing.resource,
            resource_type=f"Aws{failing.check.kind.descriptor.name}",
            service=_service(failing),
            status=cloud_asset_pb2.ASSET_STATUS_ACTIVE,
        )
        if failing.record is not None and failing.record.region:
            body.region = failing.record.region
        return Record(cloud_asset=body)

    async def _update(self, changes: Sequence[Change], outcome: Outcome) -> None:
        updates = []
        written = [each for each in changes if each.paths or each.known is None]
        for change in written:
            update = UpdateRecordRequest(record=change.record, allow_missing=change.known is None)
            update.update_mask.paths.extend(change.paths)
            updates.append(update)
        results = await self._security.update(self._parent, updates)
        for change, result in zip(written, results, strict=True):
            if result.HasField("error"):
                outcome.instead(change, Fate.REJECTED, result.error.message)


def _service(failing: Failing) -> str:
    """Give the AWS service: of an ARN its third part, else what the collection begins with."""
    parts = failing.resource.split(":")
    if parts[0] == "arn" and len(parts) > 2 and parts[2]:
        return parts[2][:128]
    return failing.check.kind.collection.partition("_")[0]


def _chunks(uids: Sequence[str]) -> Iterable[str]:
    """Write lists of CEL texts, each short enough for one condition."""
    listed: list[str] = []
    for uid in uids:
        text = json.dumps(uid, ensure_ascii=False)
        if listed and sum(map(len, listed)) + len(text) > _ASKED_CHARS:
            yield ", ".join(listed)
            listed = []
        listed.append(text)
    if listed:
        yield ", ".join(listed)
