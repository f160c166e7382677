"""Memory of a server that takes 200,000 records in one stream."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.identity.keys import create_signing_key
from secmesh.records.v1.ingest_pb2 import IngestResult
from secmesh_client.aio import ingest
from tests.databases import NEWEST, SQLITE, empty_database
from tests.service.test_server_ingest import entries, method_of, opening, process
from tests.soak.soak_world import resident_megabytes

RECORDS = 200_000
WARM = 40_000
"""Records after which caches and pools are full."""
MOST_GROWTH = 0.15


@pytest.fixture(params=[SQLITE, NEWEST])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(request.param, tmp_path_factory) as made:
        yield made


async def test_memory_stays_over_a_long_stream(url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    create_signing_key(keys)
    with process(url, keys) as (server, address):
        warm, most, count = 0.0, 0.0, 0
        async with method_of(address, keys) as method:
            async for result in ingest(method, opening(), entries(RECORDS)):
                assert result.outcome == IngestResult.OUTCOME_NEW
                count += 1
                if count == WARM:
                    warm = resident_megabytes(server.pid)
                elif count > WARM and count % 10_000 == 0:
                    most = max(most, resident_megabytes(server.pid))
        print(f"{warm:.1f} MiB after {WARM}, at most {most:.1f} MiB later")  # noqa: T201  # the result
        assert count == RECORDS
        assert most <= warm * (1 + MOST_GROWTH)
