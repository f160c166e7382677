"""Every contract keeps the style of the architecture; a failure names the culprit."""

import re
from collections.abc import Iterable, Iterator

import pytest
from google.api import annotations_pb2, resource_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from buf.validate import validate_pb2
from mesh.contract.catalogue import is_map
from mesh.contract.image import comment, image, package_files
from secmesh.options.v1 import method_pb2, reason_pb2

PACKAGES = sorted(
    {file.package for file in image().file if re.match(r"secmesh\.[a-z]+\.v\d", file.package)}
)
FILES = [file for package in PACKAGES for file in package_files(package)]
# Options are read by the build, not sent by callers, so they have no bounds.
UNBOUNDED = ("secmesh.options.v1",)


def nested(message: Descriptor) -> Iterator[Descriptor]:
    yield message
    for child in message.nested_types:
        if not child.GetOptions().map_entry:
            yield from nested(child)


def messages(files: Iterable[FileDescriptor] = FILES) -> Iterator[Descriptor]:
    for file in files:
        for message in file.message_types_by_name.values():
            yield from nested(message)


def enums(files: Iterable[FileDescriptor] = FILES) -> Iterator[EnumDescriptor]:
    for file in files:
        yield from file.enum_types_by_name.values()
    for message in messages(files):
        yield from message.enum_types


def methods(files: Iterable[FileDescriptor] = FILES) -> Iterator[MethodDescriptor]:
    for file in files:
        for service in file.services_by_name.values():
            yield from service.methods


def name(item: EnumDescriptor | MethodDescriptor) -> str:
    return item.full_name


def rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def bounded(kind: int, rule: validate_pb2.FieldRules) -> bool:
    """Tell whether a rule bounds the size of one string or bytes value."""
    if kind == FieldDescriptor.TYPE_STRING:
        text = rule.string
        return bool(text.HasField("max_len") or text.HasField("pattern") or getattr(text, "in"))
    if kind == FieldDescriptor.TYPE_BYTES:
        return rule.bytes.HasField("max_len") or rule.bytes.HasField("len")
    return True


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_string_and_list_is_bounded(file: FileDescriptor) -> None:
    """A map states max_pairs, a list max_items, and each text in them how long it may be."""
    fields = [field for message in messages([file]) for field in message.fields]
    if not file.package.startswith(UNBOUNDED):
        assert [field.full_name for field in fields if not all_bounded(field)] == []


def all_bounded(field: FieldDescriptor) -> bool:
    rule = rules(field)
    if is_map(field):
        entry = field.message_type
        assert entry is not None
        return (
            rule.map.HasField("max_pairs")
            and bounded(entry.fields_by_name["key"].type, rule.map.keys)
            and bounded(entry.fields_by_name["value"].type, rule.map.values)
        )
    if field.is_repeated:
        return rule.repeated.HasField("max_items") and bounded(field.type, rule.repeated.items)
    return bounded(field.type, rule)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_everything_has_a_comment(file: FileDescriptor) -> None:
    of_messages = list(messages([file]))
    fields = [field for message in of_messages for field in message.fields]
    named: list[Descriptor | EnumDescriptor | MethodDescriptor | FieldDescriptor]
    named = [*of_messages, *enums([file]), *methods([file]), *fields]
    silent = [each.full_name for each in named if not is_sentence(comment(each.full_name))]
    assert silent == []


def is_sentence(text: str) -> bool:
    return bool(text) and (text.rstrip()[-1] in ".`,:}" or "\n" in text)


@pytest.mark.parametrize("enum", list(enums()), ids=name)
def test_enums_begin_with_unspecified_and_explain_each_value(enum: EnumDescriptor) -> None:
    assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
    silent = [v.name for v in enum.values if not comment(f"{enum.full_name}.{v.name}")]
    assert not silent


@pytest.mark.parametrize("method", list(methods()), ids=name)
def test_every_method_states_permission_route_and_idempotency(method: MethodDescriptor) -> None:
    options = method.GetOptions()
    rights = options.Extensions[method_pb2.method]
    assert bool(rights.permission) != rights.without_token
    assert options.HasField("idempotency_level"), "states its idempotency_level"
    rule = options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    assert verb is not None
    service_prefix = method.full_name.split(".")[1]
    assert getattr(rule, verb).startswith(f"/{service_prefix}/v1/"), "keeps to its own prefix"
    level = descriptor_pb2.MethodOptions.IdempotencyLevel
    reads = options.idempotency_level == level.NO_SIDE_EFFECTS
    assert (verb == "get") == reads, "GET and NO_SIDE_EFFECTS go together"


@pytest.mark.parametrize("method", [m for m in methods() if m.name.startswith("List")], ids=name)
def test_lists_are_paged(method: MethodDescriptor) -> None:
    request, answer = method.input_type, method.output_type
    # Small, and come in one answer.
    if method.name in {"ListKinds", "ListUserFields", "ListCredentialVersions", "ListSigningKeys"}:
        return
    size = rules(request.fields_by_name["page_size"]).int32
    assert (size.gte, size.lte) == (0, 1000)
    wanted = {"parent", "page_token", "filter"}
    # These come with the service: no tenant's, in no table.
    if method.name in {"ListChecks", "ListFrameworks", "ListFrameworkControls"}:
        wanted = {"page_token"}
    if method.name == "ListRecommendations":  # made of an assessment: in no table
        wanted = {"parent", "page_token"}
    if method.full_name.startswith("secmesh.crypto."):  # no condition reads what is sealed
        wanted = {"parent", "page_token"}
    if method.name == "ListBackups":  # files of the server's: no tenant's, in no table
        wanted = {"page_token"}
    if method.full_name.startswith("secmesh.tenancy."):  # by what the keys allow, in own fields
        wanted = {"parent", "page_token"}
    if method.name in {"ListTenants", "ListDueSchedules"}:  # of the platform, no tenant's
        wanted = {"page_token"}
    assert wanted <= set(request.fields_by_name)
    assert "next_page_token" in answer.fields_by_name


def test_updates_take_a_mask() -> None:
    updates = [method for method in methods() if method.name.startswith("Update")]
    assert all("update_mask" in method.input_type.fields_by_name for method in updates)


@pytest.mark.parametrize("method", list(methods()), ids=name)
def test_names_in_requests_are_marked_and_shaped(method: MethodDescriptor) -> None:
    """The tenant rule is applied to marked fields only, so an unmarked name would escape it."""
    for field in method.input_type.fields:
        if field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
            continue
        pattern = rules(field).string.pattern
        marked = field.GetOptions().HasExtension(resource_pb2.resource_reference)
        assert marked == pattern.startswith("^tenants/"), field.full_name


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.name.endswith("error_reason.proto")], ids=lambda f: f.name
)
def test_error_reasons_state_their_code(file: FileDescriptor) -> None:
    (enum,) = file.enum_types_by_name.values()
    for value in enum.values:
        has = value.GetOptions().HasExtension(reason_pb2.reason)
        assert has == (value.number != 0), value.name
        assert re.fullmatch(r"ERROR_REASON_[A-Z][A-Z0-9_]{1,61}[A-Z0-9]", value.name)


def test_reasons_are_unique_across_services() -> None:
    """All services share one error domain (AIP-193), so a reason may mean one thing only."""
    names = [
        value.name
        for file in FILES
        if file.name.endswith("error_reason.proto")
        for value in file.enum_types_by_name["ErrorReason"].values
        if value.number
    ]
    assert len(names) == len(set(names))


def test_every_service_package_has_reasons() -> None:
    for package in PACKAGES:
        if any(file.services_by_name for file in package_files(package)):
            assert any(f.name.endswith("/error_reason.proto") for f in package_files(package)), (
                package
            )
