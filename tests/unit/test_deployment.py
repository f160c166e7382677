"""Image and compose file, checked without an engine: what they name exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import PREFIX as GATEWAY_PREFIX
from services.inventory.settings import InventorySettings, describe

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
GATEWAY_OPTIONS = {"SERVICES", "LISTEN", "EDGE_AUTHZ", "EDGE_HTTP", "JWKS", "ISSUER", "AUDIENCE"}
EDGE_OPTIONS = {"AUTHZ", "HTTP"}


def test_commands_are_modules_of_this_project() -> None:
    for name, service in COMPOSE["services"].items():
        if "build" in service:
            module = service["command"][0].replace(".", "/")
            assert (ROOT / module / "__main__.py").is_file(), name
            assert service["build"]["args"]["EXTRA"] in {"inventory", "gateway"}


def test_inventory_settings_exist() -> None:
    listed = set(re.findall(r"^  (\w+)", describe(), re.MULTILINE))
    given = set(COMPOSE["services"]["inventory"]["environment"])
    credentials = {name for name in given if re.match(r"AWS_(ACCESS|SECRET|SESSION)", name)}
    assert given - credentials <= listed
    assert InventorySettings.model_fields


@pytest.mark.parametrize("service", ["edge", "render"])
def test_gateway_settings_exist(service: str) -> None:
    for name in COMPOSE["services"][service]["environment"]:
        assert name.removeprefix(GATEWAY_PREFIX) in GATEWAY_OPTIONS | EDGE_OPTIONS


def test_only_the_gateway_is_published_and_on_loopback() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", ()):
            assert name == "gateway"
            assert port.startswith("127.0.0.1:")


def test_containers_are_confined() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_the_image_copies_what_exists_and_leaves_root() -> None:
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for path in source.split():
            assert (ROOT / path).exists(), path
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)
