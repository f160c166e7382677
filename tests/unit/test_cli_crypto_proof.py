"""`secmesh crypto verify-certificate` and `verify-export`: without the service's code."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from services.crypto.audit.bundle import CHECKPOINTS, ENTRIES, line_of, write_lines
from services.crypto.audit.entry import Entry
from services.crypto.audit.note import Checkpoint, Signer, digest
from services.crypto.audit.sealing import Stored
from services.crypto.erasure.certificate import Certificate
from services.crypto.erasure.erasure import Destroyed, Erasure
from services.crypto.erasure.person_digest import person_digest
from services.crypto.export.bundle import BundleWriter

USER = "0190f3f0-1111-7222-8333-444455556666"
NAME = f"tenants/acme/users/{USER}"
ERASURE_ID = "0190f3f0-2222-7222-8333-444455556666"
ORIGIN = "secmesh.crypto/test"
SIGNER = Signer(ORIGIN, b"s" * 32)
KEY = f"--key={SIGNER.public.encoded()}"
MOMENT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
CHECKPOINT = SIGNER.sign(Checkpoint(ORIGIN, 4711, bytes(32)).text())
SUBJECT = b"\x00\x00\x00\x01" + b"p" * 28


def certificate(signer: Signer = SIGNER) -> str:
    erasure = Erasure(
        "acme",
        ERASURE_ID,
        person_digest("acme", USER),
        (SUBJECT,),
        "ann",
        destroyed=Destroyed((1, 2), (("email", 1), ("ssn", 3)), 1, 2),
        ordered_at=MOMENT,
        erased_at=MOMENT,
        caches_until=MOMENT + timedelta(seconds=90),
        backups_until=MOMENT + timedelta(days=7),
    )
    checkpoint = f"4711 {digest(CHECKPOINT)}"
    return signer.sign(Certificate.of(erasure, ORIGIN, checkpoint).text())


def entry(**changed: Any) -> Stored:
    made = Entry(
        writer_id=bytes(16),
        seq=2,
        entry_id=bytes(16),
        accessed_at=1,
        tenant_id="acme",
        subject=SUBJECT,
        operation="erase",
        fields=("email", "ssn"),
        tiers=(1, 3),
        principal="ann",
        purpose="",
        request_id="",
        success=True,
        error_code="",
        duration_us=0,
        retention_class="standard",
        details=f"erasure {ERASURE_ID}",
    )
    return Stored(made._replace(**changed), bytes(32))


def audit(folder: Path, *entries: Stored, checkpoint: str = CHECKPOINT) -> Path:
    folder.mkdir(exist_ok=True)
    for name in (ENTRIES, CHECKPOINTS):
        (folder / name).unlink(missing_ok=True)
    write_lines(folder, ENTRIES, map(line_of, entries))
    write_lines(folder, CHECKPOINTS, [{"note": checkpoint}])
    return folder


def run(command: str, content: str | bytes, folder: Path, *arguments: str) -> Result:
    file = folder / "file"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    asked = ["-o", "ndjson", "crypto", command, str(file), *arguments]
    return CliRunner().invoke(app, asked)


def test_a_certificate_holds_for_its_person_and_in_the_audit(tmp_path: Path) -> None:
    folder = audit(tmp_path / "audit", entry(seq=1, operation="read"), entry())
    done = run(
        "verify-certificate", certificate(), tmp_path, KEY, f"--user={NAME}", f"--audit={folder}"
    )
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert row["verified"] == "signature person audit"
    assert (row["keys"], row["fields"], row["origin"]) == ("1 2", "email ssn", ORIGIN)
    assert (row["erased_at"], row["backups_until"]) == (
        "2026-11-22T09:30:00Z",
        "2026-11-29T09:30:00Z",
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda note: note.replace("key 1\n", ""), "is not of this text"),
        (lambda note: note.replace("2", "3", 1), "is not of this text"),
        (lambda note: note.split("\n\n")[0], "no signed note"),
        (lambda _: certificate(Signer(ORIGIN, b"x" * 32)), "none of the keys"),
        (lambda _: CHECKPOINT, "is no 'secmesh erasure'"),
    ],
)
def test_a_certificate_that_was_changed_or_is_another_is_refused(
    tmp_path: Path, change: Callable[[str], str], problem: str
) -> None:
    done = run("verify-certificate", change(certificate()), tmp_path, KEY)
    assert done.exit_code == 4
    assert problem in done.output.replace("\n", " ")


def test_a_certificate_of_another_person_is_refused(tmp_path: Path) -> None:
    for other in (NAME.replace("acme", "beta"), NAME[:-1] + "7", "nobody", f"users/{USER}"):
        done = run("verify-certificate", certificate(), tmp_path, KEY, f"--user={other}")
        assert done.exit_code == 4, other


def test_a_certificate_that_the_audit_does_not_know_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    for entries in (
        [],
        [entry(success=False)],
        [entry(subject=bytes(32))],
        [entry(details="erasure 1")],
    ):
        audit(folder, *entries)
        done = run("verify-certificate", certificate(), tmp_path, KEY, f"--audit={folder}")
        assert done.exit_code == 4
        assert "no entry of this erasure" in done.output
    other = SIGNER.sign(Checkpoint(ORIGIN, 4711, b"o" * 32).text())
    audit(folder, entry(), checkpoint=other)
    done = run("verify-certificate", certificate(), tmp_path, KEY, f"--audit={folder}")
    assert "another checkpoint" in done.output.replace("\n", " ")
    done = run("verify-certificate", certificate(), tmp_path, KEY, f"--audit={tmp_path / 'none'}")
    assert (done.exit_code, "is missing" in done.output) == (4, True)


def bundle() -> list[bytes]:
    writer = BundleWriter(ORIGIN, NAME, int(MOMENT.timestamp()) * 1_000_000)
    lines = [
        {"type": "export", "user": NAME},
        {"type": "value", "field": "ssn", "value": "078-05-1120"},
        {"type": "value", "field": "last_name", "value": "Müller\u2028\n"},
    ]
    return [*map(writer.line, lines), writer.signature(SIGNER)]


def test_an_export_holds_and_shows_no_value(tmp_path: Path) -> None:
    done = run("verify-export", b"".join(bundle()), tmp_path, KEY)
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert (row["user"], row["lines"], row["value_lines"]) == (NAME, 3, 2)
    assert row["exported_at"] == "2026-11-22T09:30:00Z"
    assert "078-05-1120" not in done.output


def test_an_export_that_was_changed_or_cut_is_refused(tmp_path: Path) -> None:
    lines = bundle()
    for wrong, problem in (
        ([lines[0], lines[1].replace(b"1120", b"1121"), *lines[2:]], "not those"),
        (lines[:-1], "was cut"),
        ([lines[0], *lines[2:]], "not those"),
        ([lines[1], lines[0], *lines[2:]], "not those"),
        ([*lines[:-1], certificate().encode()], "no JSON"),
        ([], "no JSON"),
    ):
        done = run("verify-export", b"".join(wrong), tmp_path, KEY)
        assert done.exit_code == 4
        assert problem in done.output.replace("\n", " ")
    other = f"--key={Signer(ORIGIN, b'x' * 32).public.encoded()}"
    assert run("verify-export", b"".join(lines), tmp_path, other).exit_code == 4
    assert run("verify-export", b"".join(lines), tmp_path, "--key=bad").exit_code == 4
