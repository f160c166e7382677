"""Logs: JSON lines that lead from a request id to what happened and give nothing away."""

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, struct_pb2

from mesh.client import CallRefused, open_channel
from mesh.server.log import configure_logging, report_loop_failure
from mesh.server.redaction import MASK, redacted
from secmesh.inventory.v1 import (
    record_service_pb2_grpc,
    ssp_requests_pb2,
    sync_pb2,
    sync_service_pb2,
)
from secmesh.options.v1 import field_pb2
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.service.server_fixtures import PACKAGE, RECORD, running

_LOG = logging.getLogger("services.test")


class Lines:
    """What was logged, as written and as events."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logged = Lines()
    # Whoever began to capture before, pytest undid half of it.
    logging.captureWarnings(capture=False)
    configure_logging("INFO", logged.stream)
    yield logged
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_call_leaves_one_line(tmp_path: Path, lines: Lines) -> None:
    async with running(tmp_path) as server:
        token = server.token()
        async with open_channel(server.address, package=PACKAGE, token=token) as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)
            metadata = (("x-request-id", "r-1"),)
            await stub.GetRecord(GetRecordRequest(name=RECORD), metadata=metadata)
    calls = [event for event in lines.events if event["message"] == "call"]
    assert len(calls) == 1
    call = calls[0]
    assert 0 < call.pop("duration_ms") < 5000
    assert call.pop("time").endswith("+00:00")
    assert call == {
        "level": "INFO",
        "logger": "mesh.server.call",
        "message": "call",
        "request_id": "r-1",
        "method": f"/{PACKAGE}.RecordService/GetRecord",
        "code": "OK",
        "subject": "ann",
        "tenant": "acme",
    }
    assert token not in lines.text


async def test_a_failure_is_found_by_its_request_id_and_tells_no_values(
    tmp_path: Path, lines: Lines
) -> None:
    async def fail(_request: Any, context: Any) -> Any:
        _LOG.info("about to fail")
        try:
            dict[str, int]()["parameters: ('alice@example.org',)"]
        except LookupError as error:
            raise RuntimeError(f"metadata: {context.invocation_metadata()}") from error

    async with running(tmp_path) as server:
        server.records.get = fail
        token = server.token()
        async with open_channel(server.address, package=PACKAGE, token=token) as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)
            with pytest.raises(CallRefused) as caught:
                await stub.GetRecord(GetRecordRequest(name=RECORD))
    mine = [each for each in lines.events if each.get("request_id") == caught.value.request_id]
    assert [each["message"] for each in mine] == ["about to fail", "call"]
    failed = mine[1]
    assert (failed["level"], failed["code"], failed["reason"]) == ("ERROR", "INTERNAL", "INTERNAL")
    assert [each["type"] for each in failed["error"]] == [
        "builtins.RuntimeError",
        "builtins.KeyError",
    ]
    assert failed["error"][1]["frames"][-1].endswith(" fail")
    assert "alice" not in lines.text
    assert token not in lines.text


def test_what_looks_like_a_token_is_masked(lines: Lines) -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl-_"
    _LOG.info("got %s", f"Bearer {token}", extra={"fields": {"header": token}})
    assert lines.events[0]["message"] == "got Bearer [token]"
    assert lines.events[0]["header"] == "[token]"


def test_the_text_of_an_exception_is_not_logged(lines: Lines) -> None:
    def fail() -> None:
        raise ExceptionGroup("secret", [ValueError("secret")])

    try:
        fail()
    except ExceptionGroup as error:
        _LOG.exception("failed")
        _LOG.error("failed: %s", error)
    first, second = lines.events
    assert first["error"][0]["exceptions"][0][0]["type"] == "builtins.ValueError"
    assert second["message"] == "failed: ExceptionGroup"
    assert "secret" not in lines.text


def test_other_libraries_are_heard_from_warnings_on(lines: Lines) -> None:
    logging.getLogger("sqlalchemy.engine").info("INSERT secret")
    logging.getLogger("sqlalchemy.engine").warning("pool is full")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("beware", UserWarning, stacklevel=1)
    assert [event["level"] for event in lines.events] == ["WARNING", "WARNING"]


async def test_a_forgotten_task_does_not_tell_what_failed(lines: Lines) -> None:
    loop = asyncio.get_running_loop()
    report_loop_failure(loop, {"message": "secret", "exception": ValueError("secret")})
    assert lines.events[0]["error"][0]["type"] == "builtins.ValueError"
    assert "secret" not in lines.text


def test_a_message_is_logged_by_its_contract(lines: Lines) -> None:
    person = person_class()(
        email="alice@example.org",
        password="hunter2",
        aliases=["al@example.org"],
        city="Oslo",
        photo=b"12345",
    )
    person.manager.email = "bob@example.org"
    _LOG.info("stored %s", person, extra={"fields": {"person": person}})
    shown = {
        "email": MASK,
        "password": MASK,
        "aliases": MASK,
        "city": "Oslo",
        "photo": "[5 bytes]",
        "manager": {"email": MASK},
    }
    event = lines.events[0]
    assert event["person"] == shown
    assert json.loads(event["message"].removeprefix("stored ")) == shown


def test_redaction_keeps_what_is_not_sensitive() -> None:
    request = sync_service_pb2.StartSyncRequest(
        parent="tenants/acme",
        sync=sync_pb2.Sync(regions=["us-east-1"], state=sync_pb2.Sync.STATE_RUNNING),
    )
    assert redacted(request) == {
        "parent": "tenants/acme",
        "sync": {"regions": ["us-east-1"], "state": "STATE_RUNNING"},
    }
    document = ssp_requests_pb2.ImportSspRequest(document=b"x" * 10, ssp_id="s" * 300)
    shown = redacted(document)
    assert shown["document"] == "[10 bytes]"
    assert len(shown["ssp_id"]) < 300


def test_what_has_no_contract_is_not_shown() -> None:
    packed = any_pb2.Any()
    packed.Pack(sync_pb2.Sync(name="secret"))
    free = struct_pb2.Struct()
    free["note"] = "secret"
    for message in (packed, free):
        assert "secret" not in str(redacted(message))
        assert redacted(message)["value"] == MASK


def person_class() -> Any:
    """Make a message with sensitive fields; no contract of the project has them yet."""
    name = "secmesh/redaction/v1/person.proto"
    pool = descriptor_pool.Default()
    try:
        file = pool.FindFileByName(name)
    except KeyError:
        pool.AddSerializedFile(_person_file(name).SerializeToString())
        file = pool.FindFileByName(name)
    return message_factory.GetMessageClass(file.message_types_by_name["Person"])


def _person_file(name: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=name, package="secmesh.redaction.v1", syntax="proto3"
    )
    file.dependency.append(field_pb2.DESCRIPTOR.name)
    person = file.message_type.add(name="Person")
    kinds = descriptor_pb2.FieldDescriptorProto
    pii, secret = field_pb2.SENSITIVITY_PII, field_pb2.SENSITIVITY_SECRET
    for number, (field, kind, label, sensitivity) in enumerate(
        [
            ("email", kinds.TYPE_STRING, kinds.LABEL_OPTIONAL, pii),
            ("password", kinds.TYPE_STRING, kinds.LABEL_OPTIONAL, secret),
            ("aliases", kinds.TYPE_STRING, kinds.LABEL_REPEATED, pii),
            ("city", kinds.TYPE_STRING, kinds.LABEL_OPTIONAL, field_pb2.SENSITIVITY_INTERNAL),
            ("photo", kinds.TYPE_BYTES, kinds.LABEL_OPTIONAL, field_pb2.SENSITIVITY_UNSPECIFIED),
        ],
        start=1,
    ):
        added = person.field.add(name=field, number=number, type=kind, label=label)
        added.options.Extensions[field_pb2.field].sensitivity = sensitivity
    person.field.add(
        name="manager",
        number=6,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_OPTIONAL,
        type_name=".secmesh.redaction.v1.Person",
    )
    return file
