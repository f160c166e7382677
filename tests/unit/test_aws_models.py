"""Descriptions of services: nothing that a call needs is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from mesh.aws.models import LeanFiles, lean_loader, new_session, undocumented
from mesh.aws.operations import split
from services.inventory.collect.registry import REGISTRY

SERVICES = sorted(
    {split(each)[0] for collector in REGISTRY.collectors.values() for each in collector.operations}
)


def without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: without_texts(each)
            for key, each in value.items()
            if key != "documentation" or not isinstance(each, str)
        }
    return [without_texts(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_described_as_botocore_does(service: str) -> None:
    # One of its own, for botocore changes a description when it makes a client of it.
    lean = lean_loader()
    full = botocore.session.get_session().get_component("data_loader")
    found = lean.load_service_model(service, "service-2")
    wanted = full.load_service_model(service, "service-2")
    assert without_texts(found) == without_texts(wanted)
    assert len(json.dumps(found)) < len(json.dumps(wanted))
    rules = lean.load_service_model(service, "endpoint-rule-set-1")
    assert rules == full.load_service_model(service, "endpoint-rule-set-1")


def test_sessions_share_what_was_loaded() -> None:
    first, second = (new_session().get_component("data_loader") for _ in range(2))
    assert first.load_service_model("kms", "service-2") is second.load_service_model(
        "kms", "service-2"
    )


def test_a_member_named_documentation_stays() -> None:
    shape: dict[str, Any] = {
        "members": {"documentation": {"shape": "Text", "documentation": "said"}},
        "documentation": "said",
        "enum": ["documentation"],
    }
    undocumented(shape)
    assert shape == {"members": {"documentation": {"shape": "Text"}}, "enum": ["documentation"]}


def test_files_are_found_plain_and_packed(tmp_path: Path) -> None:
    files = LeanFiles()
    (tmp_path / "plain.json").write_text('{"a": 1}')
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(b'{"b": [2]}'))
    (tmp_path / "broken.json").write_text("{")
    assert files.load_file(str(tmp_path / "plain")) == {"a": 1}
    assert files.load_file(str(tmp_path / "packed")) == {"b": [2]}
    assert files.exists(str(tmp_path / "packed"))
    assert not files.exists(str(tmp_path / "missing"))
    assert files.load_file(str(tmp_path / "missing")) is None
    with pytest.raises(json.JSONDecodeError):
        files.load_file(str(tmp_path / "broken"))
