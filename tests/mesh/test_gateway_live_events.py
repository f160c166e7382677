"""Events are posted through the real gateway; what they turn is followed over every protocol."""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import JWKS_FILE, create_signing_key
from secmesh.inventory.v1 import event_service_pb2 as api
from secmesh.inventory.v1.check_pb2 import EVIDENCE_OUTCOME_FAIL, EVIDENCE_OUTCOME_PASS
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.event_service_pb2_grpc import EventServiceStub
from tests.mesh.gateway_fixtures import Gateway, process, running_gateway
from tests.mesh.grpc_web import BINARY, frame, frames
from tests.service.collect_world import ROLE, client
from tests.service.event_world import new_account, on_bucket

ROOT = "/inventory/v1/tenants/acme"
WATCH = "/secmesh.inventory.v1.EventService/WatchCheckTurns"
COMMAND = [sys.executable, "-m", "services.inventory", "serve"]
CHECK = "s3.versioning"
SECONDS = 120
FROM_THE_FIRST = api.WatchCheckTurnsRequest(
    parent="tenants/acme", revision="0-0", filter=f"check_id == '{CHECK}'"
)


@dataclass(frozen=True)
class Site:
    """A gateway before a service that collects an account of its own."""

    mesh: Gateway
    account: str
    bucket: str
    s3: Any

    def collect(self) -> None:
        wanted = {"cloudAccountId": self.account, "collections": ["s3_buckets"]}
        started = self.mesh.post(f"{ROOT}/syncs", wanted)
        assert started.status_code == 200, started.text
        until = time.monotonic() + SECONDS
        while (sync := self.mesh.get(f"/inventory/v1/{started.json()['name']}").json())[
            "state"
        ] == "STATE_RUNNING":
            assert time.monotonic() < until
            time.sleep(0.2)
        assert sync["state"] == "STATE_SUCCEEDED", sync

    def post(self, event: dict[str, Any]) -> dict[str, Any]:
        """Post an event until it is read, as EventBridge does."""
        until = time.monotonic() + SECONDS
        while True:
            answer = self.mesh.post(f"{ROOT}/events", {"events": [event], "wait": "20s"})
            assert answer.status_code in (200, 409), answer.text
            if answer.status_code == 200:
                (result,) = answer.json()["results"]
                if result["state"] == "STATE_READ":
                    return dict(answer.json())
                assert result["state"] == "STATE_READING"
            else:
                assert "EVENTS_WAITING" in answer.text
            assert time.monotonic() < until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("live")
    create_signing_key(folder / "keys")
    aws = AwsEndpoint(Faults())
    aws.start()
    account = new_account()
    bucket = f"live-{account}-{secrets.token_hex(4)}"
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {
        "SECMESH_HOME": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'inventory.db'}",
        "SECMESH_INVENTORY_LISTEN": "127.0.0.1:0",
        "SECMESH_INVENTORY_JWKS": str(folder / "keys" / JWKS_FILE),
        "SECMESH_INVENTORY_ACCOUNTS": "acme=*",
        "SECMESH_INVENTORY_ROLE": ROLE,
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with process(COMMAND, folder / "inventory.log", own | settings) as child:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith("LISTENING "), (folder / "inventory.log").read_text()
            address = json.loads(line.removeprefix("LISTENING "))["address"]
            with running_gateway({"inventory": address}, folder) as mesh:
                s3 = client(aws, "s3", account)
                s3.create_bucket(Bucket=bucket)
                made = Site(mesh, account, bucket, s3)
                made.collect()
                versioning = {"Status": "Enabled"}
                s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
                yield made
                s3.delete_bucket(Bucket=bucket)
    finally:
        aws.stop()


@pytest.fixture(scope="module")
def turned(site: Site) -> CheckTurn:
    """What an event turned that was posted over REST."""
    site.post(on_bucket(site.account, "PutBucketVersioning", site.bucket))
    asked = {"filter": f"check_id == '{CHECK}'"}
    (found,) = site.mesh.get(f"{ROOT}/checkTurns", params=asked).json()["checkTurns"]
    turn = CheckTurn(
        check_id=found["checkId"],
        arn=found["arn"],
        old_outcome=found["oldOutcome"],
        new_outcome=found["newOutcome"],
        name=found["name"],
    )
    assert (turn.old_outcome, turn.new_outcome) == (EVIDENCE_OUTCOME_FAIL, EVIDENCE_OUTCOME_PASS)
    assert turn.arn.endswith(site.bucket)
    return turn


def told(events: Iterator[api.WatchCheckTurnsResponse]) -> str:
    """Give the name of the first turn that a stream tells of, after its first bookmark."""
    assert next(events).WhichOneof("event") == "bookmark"
    event = next(event for event in events if event.HasField("check_turn"))
    assert event.revision == f"0-{event.check_turn.sequence}"
    return event.check_turn.name


def test_turns_are_followed_over_grpc(site: Site, turned: CheckTurn) -> None:
    with site.mesh.channel() as channel:
        stub = EventServiceStub(channel)
        stream = stub.WatchCheckTurns(
            FROM_THE_FIRST, metadata=site.mesh.bearer(), timeout=SECONDS, wait_for_ready=True
        )
        assert told(stream) == turned.name
        stream.cancel()
        other = api.WatchCheckTurnsRequest(parent="tenants/others")
        foreign = stub.WatchCheckTurns(other, metadata=site.mesh.bearer(), timeout=SECONDS)
        with pytest.raises(grpc.RpcError) as refused:
            next(foreign)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_turns_are_followed_over_grpc_web(site: Site, turned: CheckTurn) -> None:
    headers = {
        "authorization": f"Bearer {site.mesh.token()}",
        "x-grpc-web": "1",
        "content-type": BINARY,
        "accept": BINARY,
    }
    content = frame(FROM_THE_FIRST)
    with site.mesh.client.stream("POST", WATCH, content=content, headers=headers) as answer:
        assert answer.status_code == 200
        assert told(_messages(answer)) == turned.name


def _messages(answer: httpx.Response) -> Iterator[api.WatchCheckTurnsResponse]:
    """Read the messages of a stream as they come."""
    held = b""
    for part in answer.iter_raw():
        held += part
        while len(held) >= 5 and len(held) >= (size := 5 + int.from_bytes(held[1:5], "big")):
            ((kind, message),) = frames(held[:size])
            assert kind == 0
            held = held[size:]
            yield api.WatchCheckTurnsResponse.FromString(message)


def test_turns_are_followed_over_rest(site: Site, turned: CheckTurn) -> None:
    headers = {"authorization": f"Bearer {site.mesh.token()}", "accept": "text/event-stream"}
    asked = {"revision": "0-0", "filter": f"check_id == '{CHECK}'"}
    url = f"{ROOT}/checkTurns:watch"
    with site.mesh.client.stream("GET", url, params=asked, headers=headers) as answer:
        assert answer.status_code == 200
        events = (json.loads(line[6:]) for line in answer.iter_lines() if line[:6] == "data: ")
        assert next(events)["bookmark"] == {}
        event = next(event for event in events if "checkTurn" in event)
    assert event["checkTurn"]["name"] == turned.name
