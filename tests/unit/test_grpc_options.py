"""gRPC passes over options that it does not know, in silence."""

from importlib import import_module
from pathlib import Path

import pytest

from mesh.contract.catalogue import load_catalogue
from mesh.server.serve import options_of
from mesh.server.settings import ServerSettings
from secmesh_client.service_config import channel_options

PACKAGE = "secmesh.security.v1"
SERVER = [name for name, _ in options_of(ServerSettings(), load_catalogue(PACKAGE))]
CLIENT = [name for name, _ in channel_options(PACKAGE, 1)]


@pytest.fixture(scope="module")
def core() -> bytes:
    """The library that gRPC's Python package is a layer over."""
    return Path(import_module("grpc._cython.cygrpc").__file__ or "").read_bytes()


@pytest.mark.parametrize("name", sorted({*SERVER, *CLIENT}))
def test_options_are_known_to_grpc(core: bytes, name: str) -> None:
    assert name.encode() + b"\0" in core
