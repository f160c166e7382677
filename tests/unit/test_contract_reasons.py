"""The reference of error reasons is whole and up to date."""

from pathlib import Path

import pytest

from mesh.contract import reasons as module
from mesh.contract.__main__ import main
from mesh.contract.image import comment, image
from mesh.contract.reasons import COMMITTED, ReasonUndocumented, packages, reasons, reference

EVERY = [
    (file.package, value.name)
    for file in image().file
    for enum in file.enum_type
    if enum.name == "ErrorReason"
    for value in enum.value
    if value.number
]


@pytest.mark.parametrize(("package", "name"), EVERY)
def test_every_reason_is_explained(package: str, name: str) -> None:
    meaning = comment(f"{package}.ErrorReason.{name}")
    assert meaning[0].isupper()
    assert "." in meaning
    entry = next(each for each in reasons(package) if f"ERROR_REASON_{each.name}" == name)
    assert meaning in reference()
    assert entry.remedy


def test_the_committed_reference_is_what_the_contracts_say() -> None:
    assert COMMITTED.read_text() == reference()
    assert packages()[0] == "secmesh.rpc.v1"


def test_an_old_reference_fails_the_check_and_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "errors.md"
    monkeypatch.setattr("mesh.contract.__main__.COMMITTED", old)
    assert main(["errors", "--check"]) == 1
    old.write_text("old")
    assert main(["errors", "--check"]) == 1
    assert "errors --write" in capsys.readouterr().err
    assert main(["errors", "--write"]) == 0
    assert main(["errors", "--check"]) == 0
    assert main(["errors"]) == 0
    assert capsys.readouterr().out == old.read_text()


def test_a_reason_without_a_comment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "comment", lambda _name: "")
    with pytest.raises(ReasonUndocumented, match="TOKEN_MISSING has no comment"):
        reference()
