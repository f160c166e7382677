"""Documents that the command saves: whole, or as they were."""

import os
import stat
from pathlib import Path

import pytest

from cli.saving import save


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    save(file, b"first, and longer")
    save(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [file]


def test_what_could_not_be_written_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.html"
    save(file, b"before")

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save(file, b"after")
    assert caught.value.filename == str(file)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_readers_stay_and_links_lead_on(tmp_path: Path) -> None:
    file, link = tmp_path / "report.html", tmp_path / "link"
    save(file, b"before")
    file.chmod(0o600)
    link.symlink_to(file)
    save(link, b"after")
    assert link.is_symlink()
    assert file.read_bytes() == b"after"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_file_is_as_the_user_wants_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path / "a", b"a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    save(Path(os.devnull), b"a")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(IsADirectoryError):
        save(tmp_path, b"a")
