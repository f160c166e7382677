"""The key of page tokens as a file: read whole, never told, and long enough."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.tenancy.settings import TenancySettings


def settings_of(path: Path) -> TenancySettings:
    return TenancySettings(aws_region="eu-west-1", page_key_file=path)


def test_the_file_stands_in_place_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECMESH_TENANCY_PAGE_KEY", raising=False)
    path = tmp_path / "page.key"
    path.write_text("0123456789abcdef\n")
    made = settings_of(path)
    assert made.page_key == "0123456789abcdef"
    assert made.page_key not in repr(made)
    path.write_text("too short\n")
    with pytest.raises(ValidationError, match="PAGE_KEY_FILE has fewer than 16") as problem:
        settings_of(path)
    assert "too short" not in str(problem.value.errors(include_input=False))


def test_without_a_key_only_an_endpoint_of_this_machine_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SECMESH_TENANCY_PAGE_KEY", raising=False)
    with pytest.raises(ValidationError, match="PAGE_KEY is needed"):
        TenancySettings(aws_region="eu-west-1")
    assert TenancySettings(aws_endpoint_url="http://127.0.0.1:1").page_key == ""


def test_dynamodb_may_be_elsewhere() -> None:
    made = TenancySettings(
        aws_endpoint_url="http://127.0.0.1:1", dynamodb_endpoint_url="http://dynamodb:8000"
    )
    assert made.store_endpoint == "http://dynamodb:8000"
    assert TenancySettings(aws_endpoint_url="http://127.0.0.1:1").store_endpoint.endswith(":1")
