"""`secmesh crypto audit` and `verify`, and the verifier as a program of its own."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc_testing
import pytest
from typer.testing import CliRunner

from cli.app import app
from mesh.contract.image import package_files
from secmesh.crypto.v1 import audit_service_pb2 as pb
from secmesh.crypto.v1.audit_pb2 import AuditEntry, AuditOperation
from secmesh_client import over
from services.crypto.audit import __main__ as verifier
from services.crypto.audit.bundle import (
    CHECKPOINTS,
    ENTRIES,
    PARTS,
    RUNS,
    SEGMENTS,
    TILES,
    BundleBroken,
    line_of,
    line_of_run,
    read_bundle,
    write_lines,
)
from services.crypto.audit.tiles import Tile
from tests.unit.cli_operator import SECONDS, TOKEN, Operator
from tests.unit.crypto_audit_world import KEYS, AuditWorld, busy_world

SERVICES = {
    service.name: service
    for file in package_files("secmesh.crypto.v1")
    for service in file.services_by_name.values()
}
_KEYS = [f"--key={key.encoded()}" for key in KEYS]


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    channel = grpc_testing.channel(SERVICES.values(), grpc_testing.strict_real_time())
    wrapped = over(channel)
    monkeypatch.setattr("cli.connection.connect", lambda *_, **__: wrapped)
    with ThreadPoolExecutor(1) as pool:
        made = Operator(channel, pool)
        made.services = SERVICES
        yield made


def _written(world: AuditWorld, folder: Path) -> Path:
    """Write an audit as the service exports it."""
    snapshot = world.snapshot()
    write_lines(folder, ENTRIES, map(line_of, snapshot.entries()))
    write_lines(folder, CHECKPOINTS, ({"note": note} for note in snapshot.checkpoints))
    write_lines(folder, RUNS, map(line_of_run, snapshot.runs))
    tiles = ((tile, content.hex()) for tile, content in snapshot.tiles.items())
    lines = ({"level": level, "number": number, "hashes": text} for (level, number), text in tiles)
    write_lines(folder, TILES, lines)
    write_lines(folder, SEGMENTS, (each._asdict() for each in snapshot.segments))
    write_lines(folder, PARTS, ({"segment": each} for each in snapshot.partitions))
    (folder / "kept").mkdir()
    for number, note in enumerate(world.anchors):
        (folder / "kept" / f"{number}.note").write_text(note)
    return folder


def test_entries_are_asked_for_by_plain_words(operator: Operator) -> None:
    user = "01999999-0000-7000-8000-000000000001"
    words = ("--user", user, "--operation", "read-audit", "--failed", "--since", "2026-01-31")
    done = operator.run("-o", "ndjson", "crypto", "audit", *words)
    entry = AuditEntry(principal="ann", operation=AuditOperation.AUDIT_OPERATION_DECRYPT)
    entry.fields.add(field="ssn", tier=3)
    answer = pb.ListAuditEntriesResponse(audit_entries=[entry])
    request = operator.answer("AuditService", "ListAuditEntries", answer)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["principal"] == "ann"
    assert request.parent == "tenants/acme"
    assert request.selection.user == f"tenants/acme/users/{user}"
    assert request.selection.operation == AuditOperation.AUDIT_OPERATION_READ_AUDIT
    assert request.selection.failed
    assert request.selection.start_time.ToJsonString() == "2026-01-31T00:00:00Z"
    assert not request.selection.HasField("end_time")


def test_a_table_shows_what_was_touched(operator: Operator) -> None:
    done = operator.run("crypto", "audit")
    entry = AuditEntry(principal="ann", operation=AuditOperation.AUDIT_OPERATION_DECRYPT)
    entry.fields.add(field="ssn", tier=3)
    answer = pb.ListAuditEntriesResponse(audit_entries=[entry])
    operator.answer("AuditService", "ListAuditEntries", answer)
    shown = done.result(SECONDS).stdout
    assert "decrypt" in shown
    assert "ssn" in shown


def test_an_operation_that_is_none_is_refused_with_those_that_are(operator: Operator) -> None:
    result = operator.run("crypto", "audit", "--operation", "steal").result(SECONDS)
    assert result.exit_code == 2
    assert "start_writer" in result.output.replace("\n", "")


def test_a_whole_audit_is_verified_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(_written(busy_world(), tmp_path))
    assert verifier.main(["verify", folder, *_KEYS, "--anchors", f"{folder}/kept"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("WHOLE; ")
    assert "3 anchors" in told


def test_tampering_is_named_as_text_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = busy_world()
    place = world.writers[0].writer_id, 3
    world.rows[place] = world.rows[place]._replace(hash=bytes(32))
    folder = str(_written(world, tmp_path))
    name = f"{place[0].hex()}/3"
    assert verifier.main(["verify", folder, *_KEYS]) == 1
    assert f"hash_changed: {name}" in capsys.readouterr().out
    assert verifier.main(["verify", folder, *_KEYS, "--output", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["whole"], told["findings"][0]["place"]) == (False, name)


def test_what_cannot_be_verified_is_not_called_tampering(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verifier.main(["verify", str(tmp_path), *_KEYS]) == 2
    assert "is missing" in capsys.readouterr().err
    folder = _written(busy_world(), tmp_path)
    with pytest.raises(SystemExit):
        verifier.main(["verify", str(folder), "--key", "none"])


@pytest.mark.parametrize("name", [ENTRIES, RUNS, TILES, CHECKPOINTS, SEGMENTS, PARTS])
@pytest.mark.parametrize("line", ["no json", "[]", "{}", '{"writer_id": "zz"}', "7"])
def test_a_line_that_is_none_is_named(tmp_path: Path, name: str, line: str) -> None:
    folder = _written(busy_world(rounds=1), tmp_path)
    (folder / name).write_text(f"{line}\n")
    with pytest.raises(BundleBroken, match=f"{name}:1:"):
        list(read_bundle(folder).entries())


@pytest.mark.parametrize(
    "changed", [{"seq": "1"}, {"success": 1}, {"principal": 7}, {"fields": "ssn"}]
)
def test_a_column_of_another_type_is_no_entry(tmp_path: Path, changed: dict[str, object]) -> None:
    folder = _written(busy_world(rounds=1), tmp_path)
    first = json.loads((folder / ENTRIES).read_text().splitlines()[0])
    (folder / ENTRIES).write_text(json.dumps(first | changed) + "\n")
    with pytest.raises(BundleBroken):
        list(read_bundle(folder).entries())


def test_a_bundle_reads_as_it_was_written(tmp_path: Path) -> None:
    world = busy_world()
    snapshot, read = world.snapshot(), read_bundle(_written(world, tmp_path))
    assert list(read.entries()) == list(snapshot.entries())
    assert list(read.entries()) == list(snapshot.entries())
    assert read.runs == snapshot.runs
    assert read.tiles == snapshot.tiles
    assert set(read.tiles) == {Tile(0, 0)}
    assert (read.checkpoints, read.segments) == (snapshot.checkpoints, snapshot.segments)


def test_the_command_verifies_without_a_mesh(tmp_path: Path) -> None:
    world = busy_world()
    del world.rows[world.writers[1].writer_id, 4]
    folder = str(_written(world, tmp_path))
    environment = {"SECMESH_TOKEN": TOKEN, "SECMESH_ENDPOINT": "127.0.0.1:1"}
    result = CliRunner().invoke(app, ["crypto", "verify", folder, *_KEYS], env=environment)
    assert result.exit_code == 4, result.output
    assert "entries_missing" in result.stdout
