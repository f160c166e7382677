"""Reflection and health through the gateway: for tools of operators and for load balancers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gateway.contracts import deployables
from gateway.edge.introspection import REFLECTION
from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.mesh.grpc_web import call
from tests.ports import free_port

BUF = Path(sys.executable).parent / "buf"
SERVICES = set(deployables()["inventory"].catalogue.services)
CHECK = "/grpc.health.v1.Health/Check"


def buf_curl(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)


def health(channel: grpc.Channel, service: str = "") -> int:
    ask = channel.unary_unary(
        CHECK,
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    return int(ask(health_pb2.HealthCheckRequest(service=service), timeout=5).status)


def test_services_are_listed_to_a_good_token(gateway: Gateway) -> None:
    token = f"Authorization: Bearer {gateway.token()}"
    url = f"http://{gateway.address}"
    listed = buf_curl(gateway, "--list-services", "--reflect-header", token, url)
    assert set(listed.stdout.split()) >= SERVICES, listed.stderr
    assert not [name for name in listed.stdout.split() if name.startswith("envoy.")]


def test_call_by_reflection_alone(gateway: Gateway) -> None:
    token = f"Authorization: Bearer {gateway.token()}"
    data = json.dumps({"name": "tenants/acme/iam_users/one"})
    url = f"http://{gateway.address}/secmesh.inventory.v1.RecordService/GetRecord"
    both = ("--reflect-header", token, "-H", token)
    called = buf_curl(gateway, *both, "--data", data, url)
    assert json.loads(called.stdout)["iamUser"]["username"] == "ann", called.stderr


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer rubbish"),)])
def test_services_are_told_to_nobody_else(
    gateway: Gateway, metadata: tuple[tuple[str, str], ...]
) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with gateway.channel() as channel:
        ask = channel.stream_stream(
            REFLECTION,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        answers = ask(iter([request]), metadata=metadata)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
    assert cast("grpc.Call", caught.value).code() == grpc.StatusCode.UNAUTHENTICATED


def test_health_needs_no_token(gateway: Gateway) -> None:
    with gateway.channel() as channel:
        for name in ("", *SERVICES):
            assert health(channel, name) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health(channel, "envoy.none")
    assert cast("grpc.Call", caught.value).code() == grpc.StatusCode.NOT_FOUND
    answered = call(gateway.client, CHECK, health_pb2.HealthCheckRequest(), {})
    assert (answered.status, answered.messages) == (0, [b"\x08\x01"])


def test_health_of_a_gateway_whose_service_is_gone(tmp_path: Path) -> None:
    absent = {"inventory": f"127.0.0.1:{free_port()}"}
    with (
        running_gateway(absent, tmp_path, services_serve=False) as gateway,
        gateway.channel() as channel,
    ):
        status = health(channel)
    assert status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    "path", ["/grpc.health.v1.Health/Watch", "/envoy.service.auth.v3.Authorization/Check"]
)
def test_nothing_else_of_the_edge_is_reached(gateway: Gateway, path: str) -> None:
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path, bytes, bytes)(b"", metadata=gateway.bearer())
    assert cast("grpc.Call", caught.value).code() == grpc.StatusCode.UNIMPLEMENTED
    assert gateway.post(path, {}).status_code == 404


def test_rest_reaches_neither(gateway: Gateway) -> None:
    assert gateway.post(CHECK, {}).status_code == 404
    assert gateway.client.post(CHECK, json={}).status_code == 401
