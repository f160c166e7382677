"""Messages as items: what is stored of them, and that they come back."""

from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import record_pb2
from secmesh.options.v1 import field_pb2
from secmesh.tenancy.v1 import account_pb2
from services.tenancy.store.items import (
    ItemCodec,
    changes,
    etag_of,
    integer,
    text,
    version_of,
    version_of_etag,
)
from services.tenancy.store.port import Remove, Set
from services.tenancy.store.values import Item
from services.tenancy.store.wire import item_from_wire, item_to_wire

ACCOUNTS = ItemCodec(account_pb2.Account)
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "text": (_FIELD.TYPE_STRING, ""),
    "raw": (_FIELD.TYPE_BYTES, ""),
    "yes": (_FIELD.TYPE_BOOL, ""),
    "small": (_FIELD.TYPE_SINT32, ""),
    "large": (_FIELD.TYPE_UINT64, ""),
    "ratio": (_FIELD.TYPE_DOUBLE, ""),
    "at": (_FIELD.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
    "lasts": (_FIELD.TYPE_MESSAGE, ".google.protobuf.Duration"),
    "free": (_FIELD.TYPE_MESSAGE, ".google.protobuf.Struct"),
    "inner": (_FIELD.TYPE_MESSAGE, ".items.Anything"),
}


def anything() -> Any:
    """Make a message class with fields of every sort, once and repeated."""
    file = descriptor_pb2.FileDescriptorProto(name="items.proto", package="items", syntax="proto3")
    for module in (timestamp_pb2, duration_pb2, struct_pb2, field_pb2):
        file.dependency.append(module.DESCRIPTOR.name)
    message = file.message_type.add(name="Anything")
    for number, (name, (kind, type_name)) in enumerate(_TYPES.items(), 1):
        for many, offset in ((False, 0), (True, 100)):
            label = _FIELD.LABEL_REPEATED if many else _FIELD.LABEL_OPTIONAL
            field = message.field.add(
                name=name + "s" * many, number=number + offset, type=kind, label=label
            )
            if type_name:
                field.type_name = type_name
    hidden = message.field.add(name="hidden", number=99, type=_FIELD.TYPE_STRING)
    hidden.label = _FIELD.LABEL_OPTIONAL
    option = hidden.options.Extensions[field_pb2.field]
    option.sensitivity = field_pb2.SENSITIVITY_SECRET
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("items.Anything"))


Anything = anything()
MICROS = st.integers(-(2**55), 2**55)


def values(depth: int = 1) -> st.SearchStrategy[dict[str, Any]]:
    """Draw messages as their fields; times and documents stand as what they are made from."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "text": st.text(),
        "raw": st.binary(),
        "yes": st.booleans(),
        "small": st.integers(-(2**31), 2**31 - 1),
        "large": st.integers(0, 2**64 - 1),
        "ratio": st.floats(allow_nan=False),
        "at": MICROS,
        "lasts": MICROS,
        "free": st.dictionaries(st.text(), st.none() | st.booleans() | st.text()),
    }
    if depth:
        kinds["inner"] = values(depth - 1)
    many = {f"{name}s": st.lists(kind, max_size=3) for name, kind in kinds.items()}
    return st.fixed_dictionaries({}, optional=kinds | many)


def filled(given_values: dict[str, Any]) -> Any:
    made = Anything()
    for name, value in given_values.items():
        is_message = _TYPES.get(name, _TYPES.get(name[:-1], (0, "")))[0] == _FIELD.TYPE_MESSAGE
        part = getattr(made, name)
        if name in _TYPES and is_message:
            part.SetInParent()
            _fill(part, value)
        elif name in _TYPES:
            setattr(made, name, value)
        elif is_message:
            for each in value:
                _fill(part.add(), each)
        else:
            part.extend(value)
    return made


def _fill(target: Any, value: Any) -> None:
    if isinstance(value, int):
        target.FromMicroseconds(value)
    elif target.DESCRIPTOR.full_name == "items.Anything":
        target.CopyFrom(filled(value))
    else:
        json_format.ParseDict(value, target)


@given(values())
def test_every_message_comes_back(given_values: dict[str, Any]) -> None:
    message = filled(given_values)
    codec = ItemCodec(Anything)
    item = codec.item(message)
    assert codec.message(item) == message
    assert codec.message(item_from_wire(item_to_wire(item))) == message


def test_times_are_whole_microseconds() -> None:
    message = filled({"at": -1, "lasts": -1_500_000, "ats": [5]})
    item = ItemCodec(Anything).item(message)
    assert item == {"at": -1, "lasts": -1_500_000, "ats": [5], "version": 1}


def test_maps_come_back() -> None:
    header = record_pb2.Record(name="tenants/acme/users/u1", labels={"a": "1", "b": ""})
    labels = ItemCodec(record_pb2.Record).item(header)["labels"]
    assert labels == {"a": "1", "b": ""}


def test_a_secret_stands_in_no_item() -> None:
    made = Anything(text="shown", hidden="hush")
    made.inner.hidden = "hush"
    assert ItemCodec(Anything).item(made) == {"text": "shown", "inner": {}, "version": 1}


def account() -> account_pb2.Account:
    made = account_pb2.Account(
        name="tenants/acme/accounts/a1",
        account_name="Production",
        credential_type=account_pb2.CREDENTIAL_TYPE_AWS_IAM_ROLE,
        status=account_pb2.ACCOUNT_STATUS_ACTIVE,
    )
    made.create_time.FromMicroseconds(1_800_000_000_123_456)
    return made


def test_what_an_item_holds() -> None:
    assert ACCOUNTS.item(account(), version=3) == {
        "tenant_id": "acme",
        "account_id": "a1",
        "account_name": "Production",
        "credential_type": "CREDENTIAL_TYPE_AWS_IAM_ROLE",
        "status": "ACCOUNT_STATUS_ACTIVE",
        "create_time": 1_800_000_000_123_456,
        "version": 3,
    }


def test_name_and_etag_are_derived() -> None:
    item = ACCOUNTS.item(account(), version=3)
    read = ACCOUNTS.message(item | {"pk": "acme", "sk": "A#a1", "by_id_pk": "a1"})
    expected = account()
    expected.etag = etag_of(3)
    assert read == expected
    # What a caller sent as etag is not kept.
    assert ACCOUNTS.item(read, version=3) == item


def test_a_name_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tenants/\{tenant\}/accounts/\{account\}"):
        ACCOUNTS.item(account_pb2.Account(name="tenants/acme/providers/p1"))


def test_what_a_newer_contract_wrote() -> None:
    item = ACCOUNTS.item(account()) | {"status": "ACCOUNT_STATUS_NEWER", "newer": {"x": 1}}
    assert ACCOUNTS.message(item).status == account_pb2.ACCOUNT_STATUS_UNSPECIFIED


def test_etags_lead_to_versions() -> None:
    assert version_of_etag(etag_of(7)) == 7
    assert version_of({"version": 7}) == 7
    for other in ("", "7", "v0", "v07", "v-1", "v1 ", "V1", "v" + "9" * 30):
        assert version_of_etag(other) is None


def test_values_are_read_as_what_they_are() -> None:
    item: Item = {"number": 5, "text": "x", "yes": True}
    assert (integer(item, "number"), integer(item, "none"), integer(item, "none", 3)) == (5, 0, 3)
    assert (text(item, "text"), text(item, "none"), text(item, "none", "y")) == ("x", "", "y")
    for name in ("text", "yes"):
        with pytest.raises(TypeError, match=name):
            integer(item, name)
    with pytest.raises(TypeError, match="number"):
        text(item, "number")


def test_changes_between_items() -> None:
    before: Item = {"pk": "a", "sk": "b", "same": [1], "other": 1, "gone": 1, "typed": 1}
    after: Item = {"pk": "a", "sk": "b", "same": [1], "other": 2, "new": "x", "typed": True}
    assert changes(before, after) == [
        Set("other", 2),
        Set("new", "x"),
        Set("typed", True),
        Remove("gone"),
    ]
    assert changes(after, after) == []
