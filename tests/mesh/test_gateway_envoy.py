"""Envoy's own opinion of the configuration, and what the edge serves through it."""

import subprocess
from pathlib import Path

from gateway.contracts import select
from gateway.openapi.document import document_bytes
from mesh.contract.image import image_bytes
from tests.mesh.gateway_fixtures import ENVOY, Gateway, configuration


def test_envoy_accepts_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "envoy.yaml"
    edge = {"authz": "127.0.0.1:1", "http": "127.0.0.1:2"}
    services = {"inventory": "inventory.example:50051"}
    config.write_text(configuration(services, edge, "[::1]:80"))
    arguments = [str(ENVOY), "--mode", "validate", "-c", str(config), "--log-level", "warning"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_documents_need_no_token(gateway: Gateway) -> None:
    response = gateway.client.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == document_bytes(select(["inventory"]))
    health = gateway.client.get("/healthz")
    assert health.json() == {"status": "SERVING", "services": {"inventory": "SERVING"}}
    for path in ("/openapi.json", "/healthz", "/docs"):
        head = gateway.client.head(path)
        assert (head.status_code, head.content) == (200, b"")


def test_image_is_the_one_of_the_build(gateway: Gateway) -> None:
    config = (gateway.access_log.parent / "envoy.yaml").read_text()
    path = config.partition("proto_descriptor: ")[2].splitlines()[0]
    assert Path(path).read_bytes() == image_bytes()
