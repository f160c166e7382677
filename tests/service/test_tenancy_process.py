"""The tenancy service as its operator runs it: tables made, served, killed, served again."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.tenancy.v1 import tenant_service_pb2 as pb
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest, ListProvidersRequest
from secmesh.tenancy.v1.provider_service_pb2_grpc import ProviderServiceStub
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from secmesh_client import connect
from services.tenancy.__main__ import TENANCY
from services.tenancy.store.tables import Table
from tests.service.tenancy_stores import REGION, table_names

SECRET = "what the tenant's people call it"


@pytest.fixture
def environment(aws: AwsEndpoint, tmp_path: Path) -> dict[str, str]:
    create_signing_key(tmp_path / "keys")
    names = {table.variable: name for table, name in table_names().items()}
    return {
        **os.environ,
        **names,
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_REGION": REGION,
        "SECMESH_HOME": str(tmp_path),
        "SECMESH_TENANCY_PAGE_KEY": "k" * 32,
        "SECMESH_TENANCY_ADMIN": "",
    }


def run(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.tenancy", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def served(environment: dict[str, str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    # A pipe that nobody reads would stop the service once it is full.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.tenancy", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        word, _, rest = process.stdout.readline().partition(" ")
        try:
            log.seek(0)
            assert word == "LISTENING", log.read()
            yield json.loads(rest)["address"], process
        finally:
            process.kill()
            process.communicate()
            log.seek(0)
            assert SECRET not in log.read()


def test_what_was_made_is_there_for_the_process_after_one_that_was_killed(
    environment: dict[str, str],
) -> None:
    made = run(environment, "create-tables")
    assert made.returncode == 0, made.stderr
    home, tenant = Path(environment["SECMESH_HOME"]), f"t-{uuid.uuid4().hex[:12]}"
    platform = sign_token(home / "keys", subject="ann", tenant="platform", roles=["platform"])
    own = sign_token(home / "keys", subject="bob", tenant=tenant, roles=["admin"])
    request = pb.CreateTenantRequest(tenant=Tenant(tenant_name=SECRET), tenant_id=tenant)
    request.request_id = str(uuid.uuid4())
    with served(environment) as (address, process):
        with connect(address, token=platform) as channel:
            created = TenantServiceStub(channel).CreateTenant(request)
        with connect(address, token=own) as channel:
            provider = ProviderServiceStub(channel).CreateProvider(
                CreateProviderRequest(
                    parent=f"tenants/{tenant}",
                    provider=Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="Cloud"),
                )
            )
        process.send_signal(signal.SIGKILL)
    with served(environment) as (address, _):
        with connect(address, token=platform) as channel:
            # The same request, to another process.
            assert TenantServiceStub(channel).CreateTenant(request) == created
        with connect(address, token=own) as channel:
            listed = ProviderServiceStub(channel).ListProviders(
                ListProvidersRequest(parent=f"tenants/{tenant}")
            )
            assert list(listed.providers) == [provider]


def test_without_tables_callers_are_told_that_the_store_does_not_answer(
    environment: dict[str, str],
) -> None:
    tenant = sign_token(
        Path(environment["SECMESH_HOME"]) / "keys", subject="bob", tenant="acme", roles=["admin"]
    )
    with (
        served(environment) as (address, _),
        connect(address, token=tenant) as channel,
        pytest.raises(Exception, match="does not answer"),
    ):
        TenantServiceStub(channel).GetTenant(pb.GetTenantRequest(name="tenants/acme"), timeout=60)


def test_settings_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert TENANCY.main(["serve"]) == 2
    assert "AWS_REGION is needed" in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert TENANCY.main(["serve"]) == 2
    assert "SECMESH_TENANCY_PAGE_KEY is needed" in capsys.readouterr().err


def test_the_help_lists_the_seeds_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        TENANCY.main(["serve", "--help"])
    shown = capsys.readouterr().out
    names = ["AWS_REGION", "SECRETS_MANAGER_PREFIX", "SECRETS_MANAGER_KMS_KEY_ID"]
    for name in [*names, *(table.variable for table in Table)]:
        assert f"  {name} " in shown
    assert "threat-engine-scan-results" in shown
