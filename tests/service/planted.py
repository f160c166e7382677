"""Records with stated values in a served database; what a test leaves open is filled in."""

from typing import Any

from google.protobuf.json_format import ParseDict

from mesh.identifiers import new_uuid
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh.security.v1.record_write_pb2 import BatchWriteRecordsRequest, CreateRecordRequest
from tests.service.security_records import Tag, body_of
from tests.service.security_world import KINDS, World


class Plants:
    """Plants records of one tenant, a batch at a time."""

    def __init__(self, world: World, tenant: str) -> None:
        self.world = world
        self.parent = f"tenants/{tenant}"
        self.records = world.records_of(tenant)
        """The RecordService, called by an admin of the tenant."""
        self._waiting: list[CreateRecordRequest] = []

    def add(self, collection: str, **values: Any) -> str:
        """Plan a record with these values, as JSON has them, and what its kind needs; its name."""
        kind = KINDS[collection]
        request = CreateRecordRequest(parent=f"{self.parent}/{collection}", record_id=new_uuid())
        body: Any = getattr(request.record, kind.body_field or "")
        given: Any = ParseDict(values, type(body)())
        names = {name: getattr(given, name) for name in kind.references if name in values}
        body.CopyFrom(body_of(kind, Tag(request.record_id), names, whole=False))
        for field, _ in given.ListFields():
            body.ClearField(field.name)
        body.MergeFrom(given)
        self._waiting.append(request)
        return f"{request.parent}/{request.record_id}"

    def write(self) -> None:
        """Write what was planned, in its order."""
        if not self._waiting:
            return
        request = BatchWriteRecordsRequest(parent=self.parent)
        for create in self._waiting:
            request.writes.add(create=create)
        self._waiting.clear()
        self.records.BatchWriteRecords(request)

    def read(self, name: str) -> Any:
        """Give a record as it is now."""
        return self.records.GetRecord(GetRecordRequest(name=name))

    def stub_of(self, service: Any, tenant: str, *roles: str, **claims: Any) -> Any:
        """Give a service, called by somebody with these roles."""
        return self.world.stub_of(tenant, service, *roles, **claims)

    def plant(self, collection: str, **values: Any) -> str:
        """Plant one record."""
        name = self.add(collection, **values)
        self.write()
        return name
