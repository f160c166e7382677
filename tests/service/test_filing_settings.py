"""How the inventory service meets the security service: over mutual TLS, or on loopback."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import ValidationError

from mesh.contract.catalogue import load_catalogue
from mesh.errors import DependencyUnavailable
from mesh.server.call import Call, enter_call
from secmesh.security.v1 import record_service_pb2, record_service_pb2_grpc
from services.inventory.__main__ import open_security
from services.inventory.settings import InventorySettings
from tests.certificates import Authority
from tests.service.server_fixtures import running

TEAMS = "tenants/acme/teams"


def register(server: grpc.aio.Server) -> None:
    """Serve lists that are empty, and nothing else."""

    async def nothing(_servicer: Any, _request: Any, _context: Any) -> Any:
        return record_service_pb2.ListRecordsResponse()

    base = record_service_pb2_grpc.RecordServiceServicer
    servicer: Any = type("Records", (base,), {"ListRecords": nothing})
    record_service_pb2_grpc.add_RecordServiceServicer_to_server(servicer(), server)


async def test_it_shows_its_own_certificate_and_hands_on_the_callers_token(tmp_path: Path) -> None:
    ours, others = Authority.make(tmp_path), Authority.make(tmp_path, "others")
    server_pair, own, foreign = ours.issue("security"), ours.issue("own"), others.issue("foreign")
    async with running(
        tmp_path,
        catalogue=load_catalogue("secmesh.security.v1"),
        register=register,
        tls_certificate=server_pair.certificate,
        tls_key=server_pair.key,
        tls_client_ca=ours.file,
    ) as server:
        enter_call(Call("/any", metadata=server.metadata()))
        for pair, is_known in ((own, True), (foreign, False)):
            security = open_security(
                InventorySettings(
                    home=tmp_path,
                    security_address=server.address,
                    security_ca=ours.file,
                    tls_certificate=pair.certificate,
                    tls_key=pair.key,
                )
            )
            assert security is not None
            if is_known:
                assert await security.records(TEAMS, "") == []
            else:
                with pytest.raises(DependencyUnavailable):
                    await security.records(TEAMS, "")
            await security.close()


@pytest.mark.parametrize("address", ["security:50051", "10.0.0.7:50051"])
def test_a_token_does_not_travel_in_the_clear(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="security_ca"):
        InventorySettings(security_address=address)
    trusted = InventorySettings(security_address=address, allow_plaintext=True)
    assert trusted.security_credentials() is None


def test_without_an_address_there_is_nothing_to_open() -> None:
    assert open_security(InventorySettings()) is None
    assert InventorySettings(security_address="127.0.0.1:50051").security_credentials() is None
