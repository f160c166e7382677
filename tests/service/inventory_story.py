"""The calls of a whole service, one after another, as its user makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.identity.keys import sign_token
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import (
    assessment_requests_pb2,
    compliance_service_pb2_grpc,
    history_service_pb2_grpc,
    record_service_pb2_grpc,
    ssp_requests_pb2,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1.history_service_pb2 import DiffRecordsRequest, RecordChange
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest, WatchSyncRequest
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh_client import connect
from tests.service.collect_world import TENANT


@dataclass
class Story:
    """A caller of one service."""

    channel: grpc.Channel
    account: str

    def collect(self, *collections: str) -> Sync:
        """Run a sync to its end."""
        stub = sync_service_pb2_grpc.SyncServiceStub(self.channel)
        wanted = Sync(cloud_account_id=self.account, collections=collections)
        name = stub.StartSync(StartSyncRequest(parent=TENANT, sync=wanted)).name
        events = list(stub.WatchSync(WatchSyncRequest(name=name)))
        return next(each.sync for each in reversed(events) if each.HasField("sync"))

    def plan(self, document: bytes) -> None:
        """Import the one plan."""
        stub = compliance_service_pb2_grpc.ComplianceServiceStub(self.channel)
        stub.ImportSsp(
            ssp_requests_pb2.ImportSspRequest(parent=TENANT, ssp_id="main", document=document)
        )

    def verdict(self, control: str) -> pb.ClaimVerdict:
        """Evaluate the plan and give the verdict on its claim for a control."""
        stub = compliance_service_pb2_grpc.ComplianceServiceStub(self.channel)
        events = stub.Evaluate(assessment_requests_pb2.EvaluateRequest(ssp=f"{TENANT}/ssps/main"))
        (made,) = [each.assessment for each in events if each.HasField("assessment")]
        answer = stub.ListVerdicts(assessment_requests_pb2.ListVerdictsRequest(parent=made.name))
        (found,) = [each for each in answer.verdicts if each.control_id == control]
        return found

    def diff(self, collection: str, old: Sync, new: Sync) -> list[RecordChange]:
        """Give what changed between two runs."""
        stub = history_service_pb2_grpc.HistoryServiceStub(self.channel)
        request = DiffRecordsRequest(
            parent=f"{TENANT}/{collection}", from_sync=old.name, to_sync=new.name
        )
        return list(stub.DiffRecords(request).changes)

    def record(self, name: str, at: Timestamp | None = None) -> Record:
        """Give a record as it is, or as it was known at a time."""
        stub = record_service_pb2_grpc.RecordServiceStub(self.channel)
        return stub.GetRecord(GetRecordRequest(name=name, read_time=at))


def token(folder: Path) -> str:
    """Sign for a caller who may do everything in the tenant."""
    return sign_token(folder / "keys", subject="ann", tenant="acme", roles=["admin"])


@contextmanager
def story(address: str, folder: Path, account: str) -> Iterator[Story]:
    """Open the calls of a service."""
    with connect(address, token=token(folder)) as channel:
        yield Story(channel, account)
