"""The edge and Envoy must read a path alike: what one checks, the other calls."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.contracts import deployables
from gateway.policy import Policy
from gateway.routes import PathTemplate, RouteTable
from mesh.identity.keys import create_signing_key
from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.mesh.gateway_fixtures import edge as running_edge
from tests.mesh.upstream import Journal, running_upstream

METHODS = deployables()["inventory"].methods
TABLE = RouteTable(METHODS)
TEMPLATES = [PathTemplate.parse(route.template) for each in METHODS for route in each.routes]
LITERALS = sorted({part for each in TEMPLATES for part in each.segments if "*" not in part})
CUSTOM_VERBS = sorted({each.verb for each in TEMPLATES if each.verb})

SEGMENTS = st.sampled_from([*LITERALS, "acme", "iam_users", "one", "a%20b", "*", "a:b", "~"])
ENDS = st.sampled_from(["", "/", ":dance", ":", *(f":{verb}" for verb in CUSTOM_VERBS)])
PATHS = st.builds(
    lambda segments, end: "/inventory/v1/" + "/".join(segments) + end,
    st.lists(SEGMENTS, max_size=6),
    ENDS,
)


class LetPass(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc] # no types
    """An edge that checks nothing, to see what Envoy does by itself."""

    def Check(self, *_: object) -> external_auth_pb2.CheckResponse:  # noqa: N802  # the contract's
        return external_auth_pb2.CheckResponse(ok_response=external_auth_pb2.OkHttpResponse())


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Journal]]:
    with ThreadPoolExecutor(2) as threads, running_upstream() as upstream:
        edge = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(LetPass(), edge)
        authz = f"127.0.0.1:{edge.add_insecure_port('127.0.0.1:0')}"
        edge.start()
        folder = tmp_path_factory.mktemp("unchecked")
        services, policy = {"inventory": upstream.address}, Policy(requests_per_second=0)
        create_signing_key(folder / "keys")
        try:
            with (
                running_edge(services, folder) as checking,  # for the keys
                running_gateway(services, folder, {**checking, "authz": authz}, policy) as gateway,
            ):
                yield gateway, upstream.journal
        finally:
            edge.stop(None).wait()


@given(path=PATHS, verb=st.sampled_from(["GET", "POST", "PATCH"]))
@example(path="/inventory/v1/tenants/acme/syncs/x", verb="GET")
@example(path="/inventory/v1/tenants/acme/ssps/x:evaluate", verb="POST")
@example(path="/inventory/v1/tenants/acme/iam_users/x:watch", verb="GET")
@example(path="/inventory/v1/tenants/acme/syncs/manifestEntries", verb="GET")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_edge_and_envoy_find_the_same_method(
    unchecked: tuple[Gateway, Journal], path: str, verb: str
) -> None:
    gateway, journal = unchecked
    journal.calls.clear()
    response = gateway.call(verb, path)
    reached = [seen.method for seen in journal.calls]
    match = TABLE.match(verb, path)
    if match is None:
        assert (reached, response.status_code) == ([], 404)
        return
    assert reached == [match.method.descriptor.name]
    for name, value in match.variables.items():
        assert getattr(journal.last.request, name) == value


def test_literal_wins_over_wildcard(gateway: Gateway, journal: Journal) -> None:
    gateway.get("/inventory/v1/tenants/acme/syncs/x")
    gateway.get("/inventory/v1/tenants/acme/others/x")
    assert [seen.method for seen in journal.calls] == ["GetSync", "GetRecord"]
