"""A renamed field is seen before it reaches a caller."""

import runpy
import shutil
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[2] / "protos"


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.syspath_prepend(str(PROTOS))
    return runpy.run_path(str(PROTOS / "breaking.py"))


def compare(breaking: dict[str, object], copy: Path, work: Path) -> int:
    work.mkdir()
    run = breaking["compare"]
    assert callable(run)
    return int(run(copy, PROTOS, work))


def test_the_same_contracts_break_nothing(breaking: dict[str, object], tmp_path: Path) -> None:
    shutil.copytree(PROTOS, tmp_path / "protos")
    assert compare(breaking, tmp_path / "protos", tmp_path / "work") == 0


def test_a_renamed_field_breaks(
    breaking: dict[str, object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PROTOS, tmp_path / "protos")
    iam = tmp_path / "protos/secmesh/inventory/v1/iam.proto"
    renamed = iam.read_text().replace("mfa_enabled = 6", "has_mfa = 6")
    assert renamed != iam.read_text()
    iam.write_text(renamed)
    assert compare(breaking, tmp_path / "protos", tmp_path / "work") != 0
    assert "has_mfa" in capfd.readouterr().out
