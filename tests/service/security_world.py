"""A security service as a process on a database of its own, with records of every kind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from mesh.contract.catalogue import Kind, field_option, load_catalogue
from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key
from mesh.sealing.keyring import create_keys
from secmesh.security.v1 import record_service_pb2_grpc
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import BatchWriteRecordsRequest, CreateRecordRequest
from secmesh_client import CallRefused
from tests.service.callers import Callers
from tests.service.security_records import Tag, body_of, wanted_references
from tests.service.service_made import is_for_service, write_as_service

PACKAGE = "secmesh.security.v1"
CATALOGUE = load_catalogue(PACKAGE)
KINDS = CATALOGUE.record_kinds
TENANT = "tenants/acme"
_TRIES = 50


@dataclass
class World:
    """A served database, called as ann of acme."""

    address: str
    keys: Path
    access: Access
    pid: int = 0
    """Of the serving process."""
    parents: dict[str, str] | None = None
    """What later records refer to as well, by collection; None: each refers to its own."""
    _shared: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def stub(self) -> Any:
        """The RecordService, called by an admin of acme."""
        return self.records_of("acme")

    @cached_property
    def strange(self) -> Any:
        """The RecordService, called by an admin of another tenant."""
        return self.records_of("beta")

    @cached_property
    def callers(self) -> Callers:
        return Callers(self.address, self.keys)

    def stub_of(self, tenant: str, service: Any, *roles: str, **claims: Any) -> Any:
        """Give a service, called by somebody with these roles; see ``Callers.stub_of``."""
        return self.callers.stub_of(tenant, service, *roles, **claims)

    def records_of(self, tenant: str) -> Any:
        """Give the RecordService, called by an admin of a tenant."""
        return self.stub_of(tenant, record_service_pb2_grpc.RecordServiceStub, "admin")

    def close(self) -> None:
        self.callers.close()

    def plan(self, kind: Kind, tag: str, *, whole: bool = True) -> list[CreateRecordRequest]:
        """Give what creates a record and, before it, all that it refers to; itself comes last."""
        return self._planned(kind, tag, {}, whole=whole)

    def _planned(
        self, kind: Kind, tag: str, known: dict[str, str], *, whole: bool = True
    ) -> list[CreateRecordRequest]:
        made: dict[str, CreateRecordRequest] = {}
        self._plan(kind, Tag(f"{kind.collection}/{tag}"), made, {**known}, whole=whole)
        return list(made.values())

    def _plan(
        self,
        kind: Kind,
        tag: Tag,
        made: dict[str, CreateRecordRequest],
        known: dict[str, str],
        *,
        whole: bool,
    ) -> str:
        names = {}
        for name, target in wanted_references(kind, whole=whole):
            if target not in known:
                known[target] = self._plan(KINDS[target], tag, made, known, whole=False)
            names[name] = known[target]
        request = CreateRecordRequest(parent=f"{TENANT}/{kind.collection}", record_id=new_uuid())
        body = body_of(kind, tag, names, whole=whole)
        getattr(request.record, kind.body_field or "").CopyFrom(body)
        made[kind.collection] = request
        return f"{request.parent}/{request.record_id}"

    def write(self, creates: list[CreateRecordRequest]) -> list[Any]:
        """Create records, all or none."""
        return self.write_of("acme", creates)

    def write_of(
        self, tenant: str, creates: list[CreateRecordRequest], *, partial: bool = False
    ) -> list[Any]:
        """Create records of a tenant in their order, those of the service as it does.

        They are created all or none, as far as they are a caller's; ``partial``: as many as can.
        """
        written: list[Any] = []
        for by_service, part in groupby(creates, is_for_service):
            if by_service:
                written += write_as_service(self.access, list(part))
                continue
            request = BatchWriteRecordsRequest(
                parent=f"tenants/{tenant}", return_partial_success=partial
            )
            for create in part:
                request.writes.add(create=create)
            results = self.records_of(tenant).BatchWriteRecords(request).results
            written += [each.record for each in results]
        return written

    def prepare(self, kind: Kind, tag: str, *, apart: bool = False) -> CreateRecordRequest:
        """Create all that a record refers to; give what would create the record itself.

        Of kinds with few values, such as levels, the record that has one already is taken.
        ``apart`` from all others, it refers to none of their parents.
        """
        known = {} if apart or self.parents is None else self.parents
        *parents, request = self._planned(kind, tag, known)
        while parents:
            try:
                for each in self.write(parents):
                    known.setdefault(each.name.split("/")[2], each.name)
            except CallRefused as error:
                taken = error.metadata.get("resource", "")
                twin = [each for each in parents if each.parent == taken.rpartition("/")[0]]
                if error.reason != "RESOURCE_EXISTS" or not twin:
                    raise
                parents.remove(twin[0])
                for each in (*parents, request):
                    _redirect(each.record, f"{twin[0].parent}/{twin[0].record_id}", taken)
            else:
                break
        return request

    def make(self, kind: Kind, tag: str) -> Any:
        """Create a record and all that it refers to; give it."""
        return self.create(kind, tag)[1]

    def create(self, kind: Kind, tag: str) -> tuple[CreateRecordRequest, Any]:
        """Create a record and all that it refers to; give its request and itself.

        Of kinds with few values, another value is taken if one is in use.
        """
        for number in range(_TRIES):
            request = self.prepare(kind, f"{tag}~{number}", apart=number > 0)
            try:
                if is_for_service(request):
                    return request, self.write([request])[0]
                return request, self.stub.CreateRecord(request)
            except CallRefused as error:
                if error.reason != "RESOURCE_EXISTS":
                    raise
        raise AssertionError(f"every value of {kind.collection} is in use")

    def shared(self, kind: Kind) -> Any:
        """Give a record that tests look at and leave as it is."""
        if kind.collection not in self._shared:
            self._shared[kind.collection] = self.make(kind, "shared")
        return self._shared[kind.collection]


def _redirect(record: Any, old: str, new: str) -> None:
    """Let a body refer to another record."""
    body = getattr(record, record.WhichOneof("body"))
    for each, value in body.ListFields():
        if field_option(each).references and value == old:
            setattr(body, each.name, new)


def refused(call: Any, request: Any) -> CallRefused:
    """Make a call that is to be refused."""
    with pytest.raises(CallRefused) as error:
        call(request)
    return error.value


def copy_of(record: Any) -> Any:
    """Copy a record, to be changed and sent back."""
    copy = Record()
    copy.CopyFrom(record)
    return copy


@contextmanager
def served(access: Access, home: Path, *, upkeep: bool = True) -> Iterator[World]:
    """Serve a database by a process, as operators do.

    Without ``upkeep`` by one that does nothing by itself, as one beside another does.
    """
    create_signing_key(home / "keys")
    create_keys(home / "sealing.keys")
    environment = {
        **os.environ,
        "DATABASE_URL": access.application,
        "DATABASE_MIGRATE_URL": access.owner if upkeep else "",
        "SECMESH_HOME": str(home),
        "SECMESH_SECURITY_SEALING_KEYS": str(home / "sealing.keys"),
    }
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.security", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    try:
        assert process.stdout is not None
        word, _, rest = process.stdout.readline().partition(" ")
        assert word == "LISTENING", (home / "log").read_text()
        address = json.loads(rest)["address"]
        world = World(address, home / "keys", access, process.pid)
        yield world
        world.close()
    finally:
        process.terminate()
        process.communicate()
