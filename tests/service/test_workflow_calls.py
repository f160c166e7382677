"""Steps that call another system: what arrives there, what is kept, what a crash does to them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from secmesh_client import CallRefused
from services.security.workflows.json_values import from_struct
from services.security.workflows.webhooks import signature_of
from tests.databases import security_database
from tests.service.security_world import copy_of, refused
from tests.service.workflow_world import Shop, shop, until

SECRET = "s3cret-" + new_uuid()
"""A process is started anew in the middle."""


class Other(ThreadingHTTPServer):
    """Another system, which answers as its paths say."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.open = threading.Event()

    @property
    def host(self) -> str:
        return f"localhost:{self.server_address[1]}"

    def at(self, path: str) -> list[tuple[str, str, dict[str, str], Any]]:
        return [each for each in self.seen if each[1] == path]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the library's name
        server = self.server
        assert isinstance(server, Other)
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or b"null")
        server.seen.append((self.command, self.path, dict(self.headers), body))
        if self.path.startswith("/slow"):
            server.open.wait(60)
        first = len(server.at(self.path)) == 1
        answer = json.dumps({"id": 7}).encode()
        self.send_response(503 if self.path.startswith("/once") and first else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815  # the library's name

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    with Other() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.open.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, other: Other) -> Iterator[Shop]:
    with (
        security_database() as access,
        shop(Shop(access, tmp_path_factory.mktemp("home"), other.host)) as made,
    ):
        yield made


def integration(world: Shop, url: str, **values: Any) -> str:
    return world.create(
        "external_integrations",
        "external_integration",
        **{
            "name": new_uuid(),
            "provider": "tickets",
            "integration_type": "INTEGRATION_TYPE_TICKETING",
            "direction": "SYNC_DIRECTION_OUTBOUND",
            "base_url": url,
            "auth_type": "INTEGRATION_AUTH_TYPE_BEARER",
            "credentials": {"token": SECRET},
            "status": "INTEGRATION_STATUS_ACTIVE",
            "is_enabled": True,
            **values,
        },
    )


def call(world: Shop, other: Other, method: str, path: str, **rest: Any) -> dict[str, Any]:
    body = {"body": "{'n': input.n}"} if method == "POST" else {}
    return {
        "key": "call",
        "integration_id": integration(world, f"http://{other.host}"),
        "http": {"method": method, "path": path, **body},
        **rest,
    }


PARAMETERS = {"definition": {"parameters": [{"key": "n", "type": "int"}]}}


def test_a_call_proves_who_asks_and_keeps_no_secret(world: Shop, other: Other) -> None:
    step = call(world, other, "POST", "/tickets")
    tell = {
        "key": "tell",
        "integration_id": step["integration_id"],
        "depends_on": ["call"],
        "notification": {
            "channel": "#soc",
            "text": "'ticket ' + string(steps.call.result.body.id)",
        },
    }
    execution = world.run(world.active(step, tell, **PARAMETERS), {"n": 3})
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED", world.story(execution)
    [(method, _, headers, body)] = other.at("/tickets")
    assert (method, body) == ("POST", {"n": 3})
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Host"] == other.host
    told = [each for each in other.seen if each[3] == {"channel": "#soc", "text": "ticket 7"}]
    assert len(told) == 1
    kept = world.steps(execution)["call"]
    assert from_struct(kept.result) == {"status": 200, "body": {"id": 7}}
    assert SECRET not in world.story(execution)
    logged = [each.integration_log for each in world.found("integration_logs")]
    logs = [each for each in logged if each.integration_id == step["integration_id"]]
    assert [(each.http_method, each.status_code) for each in logs] == [("POST", 200)] * 2
    assert logs[0].url == f"http://{other.host}/tickets"
    assert logs[0].request_id == headers["Idempotency-Key"]
    assert SECRET not in str(logs)
    assert SECRET not in (world.home / "log").read_text()


def test_a_call_is_tried_again_under_the_same_key(world: Shop, other: Other) -> None:
    retry = {"max_attempts": 3, "initial_delay_ms": 10}
    step = call(world, other, "POST", "/once", retry_policy=retry)
    execution = world.run(world.active(step, **PARAMETERS), {"n": 1})
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED", world.story(execution)
    keys = [each[2]["Idempotency-Key"] for each in other.at("/once")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert "503" in world.steps(execution)["call"].attempts[0].error_message


def test_a_call_ends_with_its_step_and_with_its_run(world: Shop, other: Other) -> None:
    other.open.clear()
    late = world.run(world.active(call(world, other, "GET", "/slow1", timeout_seconds=1)))
    stopped = world.run(world.active(call(world, other, "GET", "/slow2")))
    until(lambda: other.at("/slow2"))
    world.stub().CancelExecution(pb.CancelExecutionRequest(name=stopped, reason="enough"))
    assert "no answer within 1 s" in world.ended(late).error_message
    began = time.monotonic()
    world.ended(stopped)
    assert world.status(stopped) == "CANCELED"
    assert time.monotonic() - began < 30, "not only when the call is answered"


def test_credentials_stay_with_the_host_that_they_were_given_for(world: Shop, other: Other) -> None:
    name = integration(world, f"http://{other.host}/a")
    change = copy_of(world.get(name))
    change.external_integration.base_url = f"http://{other.host}/b"
    change = world.records.UpdateRecord(UpdateRecordRequest(record=change))
    change.external_integration.base_url = "https://thief.example"
    error = refused(world.records.UpdateRecord, UpdateRecordRequest(record=change))
    assert (error.reason, "credentials.token" in error.message) == ("FIELD_INVALID", True)
    change.external_integration.credentials.token = "another"
    world.records.UpdateRecord(UpdateRecordRequest(record=change))


def test_credentials_are_used_for_those_who_may(world: Shop, other: Other) -> None:
    name = world.workflow(call(world, other, "GET", "/unused"))
    permissions = ("security.workflows.*", "security.external_integrations.get")
    world.stub_of("acme", WorkflowServiceStub, permissions=permissions).ActivateWorkflow(
        pb.ActivateWorkflowRequest(name=name)
    )
    assert "security.external_integrations.call" in world.ended(world.run(name)).error_message
    assert other.at("/unused") == []


def test_what_is_not_public_is_not_called(world: Shop) -> None:
    for url in ("http://127.0.0.1:9", "https://169.254.169.254", "https://localhost:9"):
        step = {
            "key": "call",
            "integration_id": integration(world, url),
            "http": {"method": "GET", "path": "/"},
        }
        body = world.ended(world.run(world.active(step)))
        assert "not public" in body.error_message or "only https" in body.error_message


def test_a_call_that_a_crash_broke_off_is_repeated_only_if_it_may_be(
    world: Shop, other: Other
) -> None:
    other.open.clear()
    safe = world.run(world.active(call(world, other, "GET", "/slow-safe")))
    unsafe = world.run(
        world.active(call(world, other, "POST", "/slow-unsafe"), **PARAMETERS), {"n": 1}
    )
    allowed = call(world, other, "POST", "/slow-allowed", retry_policy={"max_attempts": 2})
    repeated = world.run(world.active(allowed, **PARAMETERS), {"n": 1})
    paths = ("/slow-safe", "/slow-unsafe", "/slow-allowed")
    until(lambda: all(other.at(each) for each in paths))
    world.processes[-1].kill()
    other.open.set()
    world.begin()
    for each in (safe, unsafe, repeated):
        world.ended(each)
    assert [world.status(each) for each in (safe, unsafe, repeated)] == [
        "SUCCEEDED",
        "FAILED",
        "SUCCEEDED",
    ]
    assert "may not be repeated" in world.body(unsafe).error_message
    assert [len(other.at(each)) for each in paths] == [2, 1, 2]
    keys = {each[2]["Idempotency-Key"] for each in other.at("/slow-allowed")}
    assert len(keys) == 1


def deliver(world: Shop, workflow: str, secret: str, **said: Any) -> Callable[[], Any]:
    """Give what hands a delivery in, signed before what is ``said`` replaces its parts."""
    request = pb.ReceiveWebhookRequest(
        name=workflow, delivery_id=new_uuid(), payload=b'{"n": 3, "more": [1]}'
    )
    request.send_time.FromSeconds(said.pop("second", int(time.time())))
    request.signature = signature_of(
        secret, workflow, request.delivery_id, request.send_time.seconds, request.payload
    )
    stub = world.stub_of(
        said.pop("tenant", "acme"), WorkflowServiceStub, said.pop("role", "admin"), subject="hook"
    )
    for field, value in said.items():
        setattr(request, field, value)
    return lambda: stub.ReceiveWebhook(request)


def hooked(world: Shop, **values: Any) -> str:
    """Activate a workflow that deliveries of an integration start."""
    secret = {"webhook_secret": SECRET, **values}
    config = {"integration": integration(world, "https://tickets.example", **secret)}
    return world.active(
        {"key": "pause", "wait": {"seconds": 0}},
        trigger_type="WORKFLOW_TRIGGER_WEBHOOK",
        trigger_config=config,
        definition={
            "parameters": [{"key": "n", "type": "int", "required": True}],
            "outputs": {"n": "input.n"},
        },
    )


def test_a_delivery_starts_one_run_however_often_it_comes(world: Shop) -> None:
    name = hooked(world)
    call = deliver(world, name, SECRET)
    with ThreadPoolExecutor(4) as pool:
        runs = {made.name for made in pool.map(lambda _: call(), range(4))}
    assert len(runs) == 1
    body = world.ended(runs.pop())
    assert dict(body.output) == {"n": 3}
    assert len(world.runs_of(name)) == 1
    assert call().workflow_execution.execution_key == body.execution_key
    assert SECRET not in (world.home / "log").read_text()


def test_a_delivery_that_nobody_signed_just_now_starts_nothing(world: Shop) -> None:
    name, other = hooked(world), hooked(world)
    second = int(time.time())
    for said in (
        {"payload": b'{"n": 4}'},
        {"delivery_id": new_uuid()},
        {"name": other},
        {"signature": "sha256=" + "0" * 64},
        {"second": second - 400},
        {"second": second + 400},
    ):
        with pytest.raises(CallRefused) as error:
            deliver(world, name, SECRET, **said)()
        assert error.value.reason == "WEBHOOK_REFUSED", said
    with pytest.raises(CallRefused) as error:
        deliver(world, name, "another secret")()
    assert error.value.reason == "WEBHOOK_REFUSED"
    for said, reason in (
        ({"tenant": "beta"}, "RESOURCE_NOT_FOUND"),
        ({"role": "viewer"}, "PERMISSION_MISSING"),
    ):
        with pytest.raises(CallRefused) as error:
            deliver(world, name, SECRET, **said)()
        assert error.value.reason == reason
    assert world.runs_of(name) == world.runs_of(other) == []


def test_who_could_not_sign_starts_nothing_ever(world: Shop) -> None:
    with pytest.raises(CallRefused, match="no webhook_secret"):
        hooked(world, webhook_secret="")
    pause = {"key": "pause", "wait": {"seconds": 0}}
    with pytest.raises(CallRefused, match="no integration") as error:
        world.active(pause, trigger_type="WORKFLOW_TRIGGER_WEBHOOK")
    assert error.value.reason == "WORKFLOW_INVALID"
    name = hooked(world)
    config = world.get(name).workflow.trigger_config
    change = copy_of(world.get(config.integration))
    change.external_integration.is_enabled = False
    world.records.UpdateRecord(UpdateRecordRequest(record=change))
    with pytest.raises(CallRefused) as error:
        deliver(world, name, SECRET)()
    assert error.value.reason == "WEBHOOK_REFUSED"
