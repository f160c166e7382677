"""What a field expects in JSON, in words for whoever sent something else."""

from google.protobuf.descriptor import FieldDescriptor

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: "an integer of 32 bits",
    FieldDescriptor.CPPTYPE_UINT32: "an unsigned integer of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "an integer of 64 bits",
    FieldDescriptor.CPPTYPE_UINT64: "an unsigned integer of 64 bits",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "a string",
}
TEXT_MESSAGES = {
    "google.protobuf.Timestamp": "a time as RFC 3339 writes it, such as 2030-01-31T12:00:00Z",
    "google.protobuf.Duration": "seconds with the letter s, such as 3.5s",
    "google.protobuf.FieldMask": "field paths separated by commas",
}
"""Messages that are one string in JSON."""


def expects(field: FieldDescriptor) -> str:
    """Say what one value of a field is in JSON."""
    if field.enum_type is not None:
        return "one of " + ", ".join(value.name for value in field.enum_type.values)
    if field.message_type is not None:
        return TEXT_MESSAGES.get(field.message_type.full_name, "an object")
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes in base64"
    return _RANGES[field.cpp_type]
