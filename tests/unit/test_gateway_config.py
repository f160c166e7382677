"""Envoy's configuration as it follows from the contracts, and the commands that print it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import main
from gateway.contracts import (
    PLAIN_BODY_BYTES,
    Deployable,
    ServiceUnknown,
    body_bytes,
    deployables,
    field_at,
    select,
)
from gateway.edge.key_set import KeySets
from gateway.envoy_clusters import HEALTH_SECONDS, AddressInvalid, split_address
from gateway.envoy_config import Addresses, AdminExposed, render, to_yaml
from gateway.envoy_cors import CORS
from gateway.envoy_limits import RATE_LIMIT
from gateway.envoy_routes import EXT_AUTHZ, JWT_AUTHN, virtual_host
from gateway.local_replies import filter_replies, local_reply_config, status_replies
from gateway.policy import Policy, PolicyInvalid
from mesh.errors import DependencyUnavailable
from mesh.identity.jwks import KeySource
from mesh.identity.keys import create_signing_key
from mesh.server.settings import ServerSettings
from secmesh.inventory.v1.ssp_requests_pb2 import ImportSspRequest
from tests.unit.gateway_contract import method, trial

JWKS = json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "one"}]})
ADDRESSES = Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")


def rendered(
    services: dict[str, str] | None = None, policy: Policy | None = None, **changes: str
) -> dict[str, Any]:
    named = services if services is not None else {"inventory": "127.0.0.1:4"}
    addresses = Addresses(**{**vars(ADDRESSES), **changes})
    return render(named, addresses, policy or Policy(), image="/image.binpb")


def http_filters(policy: Policy) -> dict[str, dict[str, Any]]:
    """Give the filters' settings by name, in their order."""
    listener = rendered(policy=policy)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return {each["name"]: each["typed_config"] for each in manager["http_filters"]}


def routes(*services: Deployable) -> dict[str, dict[str, Any]]:
    return {route["name"]: route for route in virtual_host(services, "/image", Policy())["routes"]}


def test_services_come_from_the_contracts() -> None:
    assert "inventory" in deployables()
    assert [each.catalogue.package for each in select(["inventory"])] == ["secmesh.inventory.v1"]
    with pytest.raises(ServiceUnknown, match=r"'dragons'.*inventory"):
        rendered({"dragons": "127.0.0.1:4"})


def test_every_method_has_its_route_time_and_cluster() -> None:
    inventory = deployables()["inventory"]
    found = routes(inventory)
    for each in inventory.methods:
        route = found[each.path]
        assert route["match"] == {"path": each.path}
        assert route["route"]["cluster"] == "inventory"
        longest = route["route"]["max_stream_duration"]["max_stream_duration"]
        assert float(longest.removesuffix("s")) >= each.timeout.total_seconds()
        if each.upload is not None:
            assert "retry_policy" not in route["route"]
            continue
        retried = route["route"]["retry_policy"]["retry_on"].split(",")
        assert {"connect-failure", "refused-stream"} <= set(retried)
        assert ("unavailable" in retried) == each.idempotent


def test_what_no_route_takes_goes_nowhere() -> None:
    *_, grpc_rest, rest = virtual_host([trial()], "/image", Policy())["routes"]
    assert rest["match"] == {"prefix": "/"}
    assert rest["route"] == grpc_rest["route"]
    assert rest["route"]["cluster_not_found_response_code"] == "NOT_FOUND"
    clusters = rendered()["static_resources"]["clusters"]
    assert rest["route"]["cluster"] not in {each["name"] for each in clusters}
    assert "typed_per_filter_config" not in rest  # the edge sees every REST request


def test_body_limits_follow_the_bounds_of_the_contract() -> None:
    put, update = method("PutBox"), method("UpdateBox")
    assert body_bytes(put, put.routes[0]) > 40_000_000
    assert body_bytes(update, update.routes[0]) == PLAIN_BODY_BYTES
    find = method("Find")
    assert body_bytes(find, find.routes[0]) == PLAIN_BODY_BYTES
    route = routes(trial())["POST /trial/v1/{parent=tenants/*}/boxes"]
    settings = route["typed_per_filter_config"][EXT_AUTHZ]["check_settings"]["with_request_body"]
    assert settings["max_request_bytes"] == body_bytes(put, put.routes[0])
    assert route["match"]["safe_regex"]["regex"] == "/trial/v1/tenants/[^/]+/boxes"


def test_admin_is_off_unless_asked_and_never_leaves_the_machine() -> None:
    assert "admin" not in rendered()
    assert rendered(admin="127.0.0.1:9")["admin"]["address"]["socket_address"]["port_value"] == 9
    assert rendered(admin="[::1]:9")["admin"]["address"]["socket_address"]["address"] == "::1"
    for address in ("0.0.0.0:9", "10.0.0.1:9", "localhost.example:9"):
        with pytest.raises(AdminExposed):
            rendered(admin=address)


@pytest.mark.parametrize("address", ["", "a", ":1", "a:", "a:b", "a:0", "a:65536", "a:-1", "a:1.5"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(AddressInvalid):
        rendered({"inventory": address})


def test_addresses() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("127.0.0.1:0", any_port=True) == ("127.0.0.1", 0)
    clusters = rendered({"inventory": "db.example:4"})["static_resources"]["clusters"]
    assert [(each["name"], each["type"]) for each in clusters] == [
        ("inventory", "STRICT_DNS"),
        ("edge-authz", "STATIC"),
        ("edge-http", "STATIC"),
    ]


async def test_envoy_gets_each_issuers_keys_as_long_as_they_may_be_believed(
    tmp_path: Path,
) -> None:
    now, own, others = (
        [1000.0],
        create_signing_key(tmp_path / "a"),
        create_signing_key(tmp_path / "b"),
    )
    content = [others.read_bytes()]

    def fetched() -> bytes:
        if not content:
            raise OSError("nobody answers")
        return content[0]

    further = KeySource(
        "grpc://127.0.0.1:1", fetch=fetched, age=10, max_age=60, clock=lambda: now[0]
    )
    sets = KeySets("one", {"one": KeySource(own), "two": further})
    first, second = sets.of(), sets.of("two")
    assert first is not None
    assert second is not None
    assert sets.of("three") is None
    assert json.loads(await first.content()) == json.loads(own.read_bytes())
    assert json.loads(await second.content()) == json.loads(others.read_bytes())
    content.clear()
    now[0] += 60
    assert json.loads(await second.content()) == json.loads(others.read_bytes())
    now[0] += 1
    with pytest.raises(DependencyUnavailable):
        await second.content()
    content.append(own.read_bytes())
    now[0] += 1
    assert json.loads(await second.content()) == json.loads(own.read_bytes())


def test_several_issuers_are_told_to_envoy_each_with_its_own_keys() -> None:
    policy = Policy(further_issuers=("mesh", "https://id.example/a?b"))
    settings = http_filters(policy)[JWT_AUTHN]
    uris = {
        each["issuer"]: each["remote_jwks"]["http_uri"]["uri"]
        for each in settings["providers"].values()
    }
    assert uris == {
        policy.issuer: "http://edge/jwks.json",
        "mesh": "http://edge/jwks.json?issuer=mesh",
        "https://id.example/a?b": "http://edge/jwks.json?issuer=https%3A%2F%2Fid.example%2Fa%3Fb",
    }
    needed = settings["rules"][-1]["requires"]["requires_any"]["requirements"]
    assert {each["provider_name"] for each in needed} == set(settings["providers"])
    with pytest.raises(PolicyInvalid, match="twice"):
        Policy(further_issuers=("secmesh-local",))


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://*.example", "https://a.example/", "ops.example", "https://A.example"],
)
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(PolicyInvalid, match="origin"):
        Policy(cors_origins=("https://good.example", origin))


@pytest.mark.parametrize("limits", [(-1, 10), (10, 9), (1, 0)])
def test_limits_that_mean_nothing(limits: tuple[int, int]) -> None:
    with pytest.raises(PolicyInvalid):
        Policy((), *limits)


def test_limit_may_be_off_and_stands_behind_the_token() -> None:
    limited = list(http_filters(Policy()))
    assert limited.index(JWT_AUTHN) < limited.index(RATE_LIMIT) < limited.index(EXT_AUTHZ)
    assert RATE_LIMIT not in http_filters(Policy(requests_per_second=0))


def test_pages_of_other_origins_are_not_answered_unless_named() -> None:
    assert "typed_per_filter_config" not in virtual_host([trial()], "/image", Policy())
    allowed = virtual_host(
        [trial()], "/image", Policy(("https://ops.example", "http://[::1]:3000"))
    )
    settings = allowed["typed_per_filter_config"][CORS]
    exact = [{"exact": "https://ops.example"}, {"exact": "http://[::1]:3000"}]
    assert settings["allow_origin_string_match"] == exact
    assert not settings["allow_credentials"]


def test_yaml_reads_back_as_it_was() -> None:
    config = rendered()
    text = to_yaml(config)
    assert yaml.safe_load(text) == config
    assert "&id" not in text


def test_replies_carry_only_what_their_reason_lists() -> None:
    for reply in (*filter_replies(), *status_replies()):
        assert reply.metadata.keys() <= reply.reason.metadata, reply.reason.name
        assert reply.reason.code
        assert reply.message


def test_every_reply_is_json_for_rest_and_a_status_for_grpc() -> None:
    for_grpc, for_rest, *mappers = local_reply_config()["mappers"]
    assert "content_type" not in for_grpc["body_format_override"]
    assert for_rest["body_format_override"]["content_type"] == "application/json"
    for grpc, rest, early in zip(mappers[::3], mappers[1::3], mappers[2::3], strict=True):
        added = {each["header"]["key"] for each in grpc["headers_to_add"]}
        assert added >= {"grpc-status-details-bin", "grpc-status", "grpc-message"}
        for mapper in (rest, early):
            body = mapper["body_format_override"]
            assert body["content_type"] == "application/json"
            info = body["json_format"]["details"][0]
            assert info["metadata"]["request_id"]


def test_fields_are_found_by_both_names() -> None:
    request = ImportSspRequest.DESCRIPTOR
    for name in ("ssp_id", "sspId"):
        found = field_at(request, name)
        assert found is not None
        assert found.name == "ssp_id"
    assert field_at(request, "ssp_id.more") is None
    assert field_at(request, "none") is None


ARGUMENTS = ["--edge-authz", "127.0.0.1:2"]


def test_render_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECMESH_GATEWAY_SERVICES", "inventory=127.0.0.1:4")
    monkeypatch.setenv("SECMESH_GATEWAY_EDGE_HTTP", "127.0.0.1:3")
    monkeypatch.setenv("SECMESH_GATEWAY_LISTEN", "127.0.0.1:5")
    assert main(["render", *ARGUMENTS, "--listen", "127.0.0.1:6"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    listener = config["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 6}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--service", "dragons=127.0.0.1:4"], "dragons"),
        (["--service", "inventory"], "NAME=HOST:PORT"),
        (["--service", "inventory=here"], "host:port"),
        (["--service", "inventory=127.0.0.1:4", "--admin", "0.0.0.0:1"], "loopback"),
        (["--service", "inventory=127.0.0.1:4", "--cors-origins", "*"], "origin"),
        (["--service", "inventory=127.0.0.1:4", "--burst", "many"], "whole numbers"),
    ],
)
def test_render_refuses_with_a_sentence(
    capsys: pytest.CaptureFixture[str], wrong: list[str], words: str
) -> None:
    command = ["render", *ARGUMENTS, "--edge-http", "127.0.0.1:3", *wrong]
    assert main(command) == 1
    assert words in capsys.readouterr().err


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["render"], ["serve"], ["openapi", "--write", "--check"]):
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_lists_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["render", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    for name in (
        "SERVICES",
        "LISTEN",
        "EDGE_AUTHZ",
        "EDGE_HTTP",
        "ISSUER",
        "AUDIENCE",
        "CORS_ORIGINS",
    ):
        assert f"SECMESH_GATEWAY_{name}" in shown


def test_key_is_exchanged_before_tokens_are_verified_and_never_sent_on() -> None:
    manager = rendered()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    names = [each["name"] for each in manager["typed_config"]["http_filters"]]
    assert names.index("secmesh.api_keys") + 1 == names.index("envoy.filters.http.jwt_authn")
    host = manager["typed_config"]["route_config"]["virtual_hosts"][0]
    assert host["request_headers_to_remove"] == ["x-api-key"]


def test_upload_has_routes_of_its_own_without_a_look_at_the_file() -> None:
    upload = method("UploadBox")
    assert upload.upload is not None
    found = routes(trial())
    name = "POST /trial/v1/{parent=tenants/*}/boxes:upload"
    settings = found[name]["typed_per_filter_config"][EXT_AUTHZ]["check_settings"]
    assert settings == {"disable_request_body_buffering": True}
    too_large = found[f"{name} too large"]
    length = too_large["match"]["headers"][-1]
    assert (length["name"], length["range_match"]["start"]) == ("content-length", 9_000_001)
    assert too_large["direct_response"]["status"] == 413
    order = list(found)
    assert order.index(f"{name} too large") < order.index(name)
    assert "retry_policy" not in found[upload.path]["route"]
    assert body_bytes(upload, upload.routes[0]) == 0


def test_a_replica_serves_until_the_gateway_has_asked_for_its_health() -> None:
    assert ServerSettings.model_fields["drain_seconds"].default > HEALTH_SECONDS
