"""Image and compose file, checked without an engine: what they name exists, and nothing is open."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from gateway.__main__ import PREFIX as GATEWAY_PREFIX
from gateway.__main__ import _parser as gateway_parser
from mesh.embedded.postgres import APPLICATION, OWNER, PostgresServer
from mesh.server.process_settings import ProcessSettings
from services.crypto.custody.sealer_settings import PREFIX as SEALER_PREFIX
from services.crypto.custody.sealer_settings import SealerSettings
from services.crypto.settings import CryptoSettings
from services.inventory.settings import InventorySettings
from services.security.settings import SecuritySettings
from services.tenancy.replica_commands import EXECUTOR, SCHEDULER
from services.tenancy.settings import TenancySettings
from services.tenancy.store.tables import Table
from services.tenancy.tables_command import CREATE_TABLES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
DOCUMENT = (ROOT / "docs/DEPLOYMENT.md").read_text()
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
LASTING = sorted(set(SERVICES) - {"render"})
SETTINGS: dict[str, type[ProcessSettings]] = {
    "crypto": CryptoSettings,
    "inventory": InventorySettings,
    "security": SecuritySettings,
    "tenancy": TenancySettings,
}
WORKERS = {"tenancy-scheduler", "tenancy-executor"}
"""Without a port: leases tell of their health, to whoever takes their work up."""
AWS_CREDENTIALS_FILE = "AWS_SHARED_CREDENTIALS_FILE"
"""Read by the AWS SDK itself."""


def gateway_variables() -> set[str]:
    """Read the gateway's variables off the help of its commands."""
    commands = gateway_parser()._subparsers
    assert commands is not None
    (choices,) = [
        action.choices
        for action in commands._group_actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    texts = [parser.format_help() for parser in choices.values()]
    return {name for text in texts for name in re.findall(rf"{GATEWAY_PREFIX}\w+", text)}


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    service = SERVICES[name]
    module, command, *_ = service["command"]
    asked = [sys.executable, "-m", module, command, "--help"]
    assert subprocess.run(asked, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert service["build"]["args"]["EXTRA"] in {*SETTINGS, "gateway"}
    assert (ROOT / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_settings_of_services_exist(name: str) -> None:
    listed = set(re.findall(r"^  (\w+)", SETTINGS[name].describe(), re.MULTILINE))
    assert set(SERVICES[name]["environment"]) - {AWS_CREDENTIALS_FILE} <= listed


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_settings_of_workers_exist(name: str) -> None:
    listed = set(re.findall(r"^  (\w+)", TenancySettings.describe(), re.MULTILINE))
    assert set(SERVICES[name]["environment"]) - {AWS_CREDENTIALS_FILE} <= listed


def test_all_that_lasts_of_the_tenancy_service_runs_on_one_store() -> None:
    lasting = {"serve", SCHEDULER.name, EXECUTOR.name}
    ours = {name: each for name, each in SERVICES.items() if "services.tenancy" in str(each)}
    assert {each["command"][1] for each in ours.values()} == lasting
    shared = ("AWS_REGION", "AWS_ENDPOINT_URL_DYNAMODB", "SECMESH_TENANCY_PAGE_KEY_FILE")
    for variable in (*shared, *(table.variable for table in Table)):
        assert len({each["environment"].get(variable) for each in ours.values()}) == 1
    local = SERVICES["dynamodb"]
    assert local["profiles"] == ["dynamodb"]
    assert set(local["networks"]) <= set(SERVICES["tenancy"]["networks"])
    assert f"`docker compose run --rm tenancy services.tenancy {CREATE_TABLES.name}`" in DOCUMENT
    assert "`http://dynamodb:8000`" in DOCUMENT


@pytest.mark.parametrize("name", ["edge", "render"])
def test_gateway_settings_exist(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= gateway_variables()


def test_the_environment_asked_of_the_user_is_documented() -> None:
    asked = set(re.findall(r"\$\{(\w+)[:}]", TEXT))
    assert asked
    assert {name for name in asked if f"`{name}`" not in DOCUMENT} == set()


def test_only_the_gateway_is_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"gateway"}
    assert all(port.startswith("127.0.0.1:") for port in published["gateway"])
    assert not any(service.get("network_mode") == "host" for service in SERVICES.values())


def test_admin_ports_stay_inside() -> None:
    for name, settings in SETTINGS.items():
        address = SERVICES[name]["environment"][f"{settings.prefix()}ADMIN"]
        assert address.startswith("127.0.0.1:")
    assert "SECMESH_GATEWAY_ADMIN" not in SERVICES["render"]["environment"]


def test_processes_speak_mutual_tls() -> None:
    for name, settings in SETTINGS.items():
        environment, prefix = SERVICES[name]["environment"], settings.prefix()
        for variable in ("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA"):
            assert environment[f"{prefix}{variable}"].startswith("/run/secmesh/tls/")
        assert f"{prefix}ALLOW_PLAINTEXT" not in environment
    for name in ("edge", "render"):
        for variable in ("UPSTREAM_CA", "UPSTREAM_CERTIFICATE", "UPSTREAM_KEY"):
            value = SERVICES[name]["environment"][f"SECMESH_GATEWAY_{variable}"]
            assert value.startswith("/run/secmesh/tls/")


@pytest.mark.parametrize("name", sorted({*SETTINGS, *WORKERS}))
def test_who_calls_another_service_shows_it_a_certificate(name: str) -> None:
    """Each serves nobody who shows none, so an authority to trust is not enough."""
    environment = SERVICES[name]["environment"]
    prefix = SETTINGS[name.partition("-")[0]].prefix()
    mounted = {
        each["target"]: each["source"] for each in SERVICES[name]["volumes"] if "target" in each
    }
    called = {
        variable: value
        for variable, value in environment.items()
        if re.fullmatch(rf"{prefix}[A-Z]+_ADDRESS", variable)
    }
    for variable, value in called.items():
        host, _, port = value.rpartition(":")
        other = SETTINGS[host].prefix()
        assert SERVICES[host]["environment"][f"{other}LISTEN"].endswith(f":{port}")
        assert f"{other}TLS_CLIENT_CA" in SERVICES[host]["environment"]
        assert environment[variable.replace("_ADDRESS", "_CA")].startswith("/run/secmesh/tls/")
        assert set(SERVICES[host]["networks"]) & set(SERVICES[name]["networks"])
    if called:
        assert environment[f"{prefix}TLS_CERTIFICATE"].startswith("/run/secmesh/tls/")
        assert environment[f"{prefix}TLS_KEY"].startswith("/run/secmesh/tls/")
        assert mounted["/run/secmesh/tls"].endswith("-tls")


def test_networks_join_only_who_must_speak() -> None:
    members = {
        network: {name for name, each in SERVICES.items() if network in each.get("networks", ())}
        for network in COMPOSE["networks"]
    }
    # Envoy asks the edge in the clear, so nobody else hears it.
    assert members["edge"] == {"edge", "gateway"}
    assert members["aws"] == {"inventory", "crypto", "tenancy", *WORKERS}
    assert COMPOSE["networks"]["edge"]["internal"]
    assert COMPOSE["networks"]["mesh"]["internal"]
    for socket, wanted in (
        ("postgres-socket", ["inventory", "postgres"]),
        ("security-socket", ["security", "security-postgres"]),
        ("crypto-socket", ["crypto", "crypto-postgres"]),
        ("sealer-socket", ["crypto", "sealer"]),
    ):
        assert sorted(name for name, each in SERVICES.items() if socket in str(each)) == wanted
        assert SERVICES[wanted[1]]["network_mode"] == "none"


def test_the_gateway_knows_every_service() -> None:
    listed = SERVICES["edge"]["environment"]["SECMESH_GATEWAY_SERVICES"].split(",")
    assert {each.partition("=")[0] for each in listed} == set(SETTINGS)
    for each in listed:
        name, _, address = each.partition("=")
        host, _, port = address.rpartition(":")
        assert host == name
        assert SERVICES[host]["environment"][f"{SETTINGS[name].prefix()}LISTEN"].endswith(port)
        assert host in SERVICES["gateway"]["depends_on"]


@pytest.mark.parametrize("service", ["security", "crypto"])
def test_the_roles_of_the_database_are_those_the_service_needs(service: str) -> None:
    """The script makes what the URLs name, and the service can make its tables with it."""
    script = (ROOT / f"deploy/{service}/roles.sql").read_text()
    statements = re.sub(r"^--.*$", "", script, flags=re.MULTILINE).split(";")
    urls = {
        name: SERVICES[service]["environment"][name]
        for name in ("DATABASE_URL", "DATABASE_MIGRATE_URL")
    }
    # Not below pytest's folders, which PostgreSQL's user cannot enter.
    with (
        tempfile.TemporaryDirectory(prefix="secmesh-roles-") as folder,
        PostgresServer(Path(folder) / "data", durable=False) as server,
        psycopg.connect(server.url(), autocommit=True) as connection,
    ):
        for statement in filter(str.strip, statements):
            connection.execute(statement.encode())
        found = connection.execute(
            "SELECT rolname, rolbypassrls, rolsuper FROM pg_roles WHERE rolname LIKE 'secmesh%'"
        ).fetchall()
        assert sorted(found) == [(APPLICATION, False, False), (OWNER, True, False)]
        here = server.url().partition("host=")[2]
        reached = {name: url.partition("host=")[0] + f"host={here}" for name, url in urls.items()}
        done = subprocess.run(
            [sys.executable, "-m", f"services.{service}", "migrate"],
            env=os.environ | reached,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_containers_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert service["pids_limit"] <= 256
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] <= 2
    # Our image leaves root by itself; the others are told.
    assert "user" in service or "build" in service
    assert str(service.get("user", "10001")) not in {"root", "0"}


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_tells_its_health(name: str) -> None:
    if name not in WORKERS:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_stop_leaves_time_to_drain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As it is unless set: what tests start drains at once.
    monkeypatch.delenv(f"{SETTINGS[name].prefix()}DRAIN_SECONDS", raising=False)
    monkeypatch.setenv("SECMESH_TENANCY_PAGE_KEY", "k" * 16)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    settings = SETTINGS[name]()
    assert settings.drain_seconds
    drain = timedelta(seconds=settings.drain_seconds + settings.grace_seconds)
    grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert timedelta(seconds=grace) > drain


def test_images_are_pinned() -> None:
    images = [each["image"] for each in SERVICES.values() if "image" in each]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image


def test_secrets_are_files_that_are_only_read() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            # A file's path or a switch, never the secret; TOKENS_... says who gives tokens.
            if re.search(r"SECRET|PASSWORD|TOKEN|_KEYS?$", variable) and "TOKENS_" not in variable:
                assert re.fullmatch(r"(\$\{\w+:\+)?/run/secmesh/[\w./]+\}?", value), (
                    name,
                    variable,
                )
        mounted = [each for each in service.get("volumes", ()) if "SECMESH_SECRETS" in str(each)]
        assert all(each["read_only"] for each in mounted), name
        assert not any(each["bind"]["create_host_path"] for each in mounted), name
    assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|://\w+:[^@/]+@", TEXT)


def test_the_signing_key_is_the_edges_alone() -> None:
    holders = [
        name for name, each in SERVICES.items() if '/edge"' in str(each) or "/edge'" in str(each)
    ]
    assert holders == ["edge"]


def test_the_app_key_is_the_sealers_alone() -> None:
    """Another user, whose group may open the socket; nothing else joins the two."""
    sealer, crypto = SERVICES["sealer"], SERVICES["crypto"]
    variables = sealer["environment"]
    known = {f"{SEALER_PREFIX}{name.upper()}" for name in SealerSettings.model_fields}
    assert {f"{SEALER_PREFIX}APP_KEYS"} < set(variables) <= known
    names = {"ENVIRONMENT": "ENVIRONMENT", "SOCKET": "SEALER_SOCKET"}
    for theirs, ours in names.items():
        shared = crypto["environment"][f"{CryptoSettings.prefix()}{ours}"]
        assert variables[f"{SEALER_PREFIX}{theirs}"] == shared
    assert f"{CryptoSettings.prefix()}APP_KEYS" not in crypto["environment"]
    keys = [name for name, each in SERVICES.items() if "}/sealer" in str(each)]
    assert keys == ["sealer"]
    user, _, group = sealer["user"].partition(":")
    folder = Path(variables[f"{SEALER_PREFIX}SOCKET"]).parent
    assert f"sealer-socket:{folder}" in sealer["volumes"]
    assert re.search(rf"useradd \S+ --uid {user} --gid {group} .*sealer\b", DOCKERFILE)
    assert re.search(rf"useradd \S+ --uid 10001 --gid {group} ", DOCKERFILE)
    assert f"install -d -o sealer -g secmesh -m 0750 {folder}" in DOCKERFILE


def test_named_volumes_are_kept_and_declared() -> None:
    declared = set(COMPOSE["volumes"])
    used = {
        each["source"] if isinstance(each, dict) else each.partition(":")[0]
        for service in SERVICES.values()
        for each in service.get("volumes", ())
        if not (isinstance(each, dict) and each["type"] == "bind")
    }
    assert used == declared
    for name, variable, volume in (
        ("inventory", "SECMESH_INVENTORY_BACKUP_FOLDER", "backups"),
        ("crypto", "SECMESH_CRYPTO_AUDIT_ANCHOR_FOLDER", "crypto-anchors"),
    ):
        folder = SERVICES[name]["environment"][variable]
        assert f"{volume}:{folder}" in SERVICES[name]["volumes"]
        assert folder in DOCKERFILE


@pytest.mark.parametrize(
    ("service", "server"), [("inventory", "postgres"), ("security", "security-postgres")]
)
def test_the_image_dumps_the_server_that_is_deployed(service: str, server: str) -> None:
    version = re.findall(r"postgres:(\d+)\.", SERVICES[server]["image"])
    assert re.findall(rf"\b{service}\) client=(\d+) ;;", DOCKERFILE) == version
    variables = SERVICES[service]["environment"]
    folder = variables[f"SECMESH_{service.upper()}_BACKUP_FOLDER"]
    mounted = [
        each.partition(":") for each in SERVICES[service]["volumes"] if isinstance(each, str)
    ]
    assert folder in {target for _, _, target in mounted}


def test_the_image_copies_what_exists_and_leaves_root() -> None:
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for path in source.split():
            assert (ROOT / path).exists(), path
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
