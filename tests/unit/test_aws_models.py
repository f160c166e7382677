"""Descriptions of services: nothing that a call needs is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import ServiceModel

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
def test_errors_of_a_reduced_service_are_known(service: str) -> None:
    model = new_session(REGISTRY.operations).get_service_model(service)
    # botocore looks at all of them when it is given any.
    assert model.shape_for_error_code("NoSuchCode") is None  # type: ignore[arg-type]  # its stub errs
    assert all(shape.type_name == "structure" for shape in model.error_shapes)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_described_as_botocore_does(service: str) -> None:
    # One of its own, for botocore changes a description when it makes a client of it.
    lean = lean_loader()
    full = botocore.session.get_session().get_component("data_loader")
    found = lean.load_service_model(service, "service-2")
    wanted = full.load_service_model(service, "service-2")
    assert without_texts(found) == without_texts(wanted)
    assert len(json.dumps(found)) < len(json.dumps(wanted))
    # What endpoints depend on; botocore needs a text with each.
    read, known = (
        [(each.name, each.type) for each in ServiceModel(model).client_context_parameters]
        for model in (found, wanted)
    )
    assert read == known
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
        "errors": [{"shape": "Gone", "documentation": "said"}],
        "documentation": "said",
        "enum": ["documentation"],
    }
    assert undocumented(shape) == {
        "members": {"documentation": {"shape": "Text"}},
        "errors": [{"shape": "Gone"}],
        "enum": ["documentation"],
    }


@pytest.mark.parametrize("service", SERVICES)
def test_declared_operations_keep_all_that_they_use(service: str) -> None:
    whole = lean_loader().load_service_model(service, "service-2")
    found = lean_loader(operations=REGISTRY.operations).load_service_model(service, "service-2")
    declared = {split(each)[1] for each in REGISTRY.operations if split(each)[0] == service}
    assert found["operations"].keys() >= declared
    assert len(found["operations"]) <= len(declared) + 2
    model, full = ServiceModel(found), ServiceModel(whole)
    for name in declared:
        made, wanted = model.operation_model(name), full.operation_model(name)
        for direction in ("input_shape", "output_shape"):
            assert described(getattr(made, direction)) == described(getattr(wanted, direction))
        assert [each.name for each in made.error_shapes] == [
            each.name for each in wanted.error_shapes
        ]


def described(shape: Any, above: tuple[str, ...] = ()) -> Any:
    """Write a shape out with all shapes in it."""
    if shape is None or shape.name in above:
        return None
    path = (*above, shape.name)
    parts = getattr(shape, "members", None) or {
        part: getattr(shape, part) for part in ("member", "key", "value") if hasattr(shape, part)
    }
    return (
        shape.name,
        shape.type_name,
        {name: described(each, path) for name, each in parts.items()},
    )


def test_services_without_a_declared_operation_stay_whole() -> None:
    lean = lean_loader(operations=frozenset({"kms:ListKeys"}))
    assert set(lean.load_service_model("kms", "service-2")["operations"]) == {"ListKeys"}
    sts = lean.load_service_model("sts", "service-2")
    assert sts == lean_loader().load_service_model("sts", "service-2")


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
