"""Secrets of security records in a real database: nothing that others can read."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Kind, is_map
from mesh.contract.storage import is_kept_plain
from mesh.embedded.postgres import Access, programs
from mesh.sql.at_rest import needs_keys
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from tests.databases import security_database, server
from tests.service.security_world import KINDS, World, served

DISGUISED = [kind for kind in KINDS.values() if needs_keys(kind)]


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with security_database() as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def world(access: Access, home: Path) -> Iterator[World]:
    with served(access, home) as made:
        yield made


def fields_of(kind: Kind) -> list[FieldDescriptor]:
    return [field for field in kind.descriptor.fields if not is_kept_plain(field)]


def texts_in(field: FieldDescriptor, value: Any) -> Iterator[str]:
    """Give the texts at any depth of a field's value that are long enough to be told."""
    if is_map(field):
        value = [*value.keys(), *value.values()]
    for each in value if field.is_repeated else [value]:
        if isinstance(each, str):
            yield from [each] if len(each) > len("12345678") else []
        elif isinstance(each, Message):
            for inner, held in each.ListFields():
                yield from texts_in(inner, held)


def dump_of(access: Access) -> str:
    """Give everything that the database holds, as a backup of it does."""
    name = sa.make_url(access.owner).database or ""
    program = shutil.which("pg_dump", path=str(programs(18)))
    assert program is not None
    command = [program, "--inserts", server(18).url(name)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_database_holds_no_planted_secret(world: World, access: Access) -> None:
    planted: set[str] = set()
    for kind in DISGUISED:
        request, record = world.create(kind, "sealed")
        sent = getattr(request.record, kind.body_field or "")
        for field in fields_of(kind):
            planted.update(texts_in(field, getattr(sent, field.name)))
        assert world.stub.GetRecord(GetRecordRequest(name=record.name)) == record
        request.record.name = record.name
        if not kind.option.append_only:
            again = world.stub.UpdateRecord(UpdateRecordRequest(record=request.record))
            assert again.etag == record.etag
    dump = dump_of(access)
    assert len(planted) >= len(DISGUISED)
    assert dump.count("sealed:") >= len(DISGUISED) // 2
    assert [text for text in planted if text in dump] == []


def test_no_service_starts_without_keys(world: World, access: Access, home: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_SEALING_KEYS")
    }
    environment |= {"DATABASE_URL": access.application, "SECMESH_HOME": str(home)}
    run = subprocess.run(
        [sys.executable, "-m", "services.security", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "SECMESH_SECURITY_SEALING_KEYS is not set" in run.stderr
    assert world.address
