"""Keys of the issuer change while the gateway runs."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import orjson
import pytest

from mesh.identity.keys import JWKS_FILE, create_signing_key
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.mesh.upstream import Upstream

KINDS = "/inventory/v1/kinds"
RELOAD_SECONDS = 40


@pytest.fixture
def rotating(upstream: Upstream, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway({"inventory": upstream.address}, tmp_path) as started:
        yield started


def replace(gateway: Gateway, *sets: Path) -> None:
    """Put the keys of some folders in place of the gateway's set, in one step."""
    keys = [
        key for folder in sets for key in orjson.loads((folder / JWKS_FILE).read_bytes())["keys"]
    ]
    partial = gateway.keys / "next.json"
    partial.write_bytes(orjson.dumps({"keys": keys}))
    partial.replace(gateway.keys / JWKS_FILE)


def status(gateway: Gateway, token: str) -> int:
    return gateway.client.get(KINDS, headers={"authorization": f"Bearer {token}"}).status_code


def await_status(gateway: Gateway, token: str, wanted: int) -> None:
    deadline = time.monotonic() + RELOAD_SECONDS
    while (found := status(gateway, token)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_keys_rotate_without_a_restart(rotating: Gateway, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(rotating.keys, old)
    create_signing_key(new)
    signed_anew = Gateway(rotating.address, new, rotating.access_log, rotating.client).token()
    signed_before = rotating.token()
    assert (status(rotating, signed_before), status(rotating, signed_anew)) == (200, 401)
    replace(rotating, old, new)
    await_status(rotating, signed_anew, 200)
    assert status(rotating, signed_before) == 200
    replace(rotating, new)
    await_status(rotating, signed_before, 401)
    assert status(rotating, signed_anew) == 200


def test_broken_set_leaves_the_one_before_in_force(rotating: Gateway) -> None:
    token = rotating.token()
    partial = rotating.keys / "next.json"
    partial.write_text("{")
    partial.replace(rotating.keys / JWKS_FILE)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert status(rotating, token) == 200
        time.sleep(0.1)
    response = rotating.client.get(KINDS)
    assert_refused(response, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
