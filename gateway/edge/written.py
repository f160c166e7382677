"""Values that JSON writes as texts, in the forms that the transcoder reads; Python reads more."""

import re

from google.protobuf.descriptor import FieldDescriptor

_DIGITS = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?|NaN|-?Infinity")
_FORMS = {
    FieldDescriptor.CPPTYPE_INT32: _DIGITS,
    FieldDescriptor.CPPTYPE_UINT32: _DIGITS,
    FieldDescriptor.CPPTYPE_INT64: _DIGITS,
    FieldDescriptor.CPPTYPE_UINT64: _DIGITS,
    FieldDescriptor.CPPTYPE_FLOAT: _NUMBER,
    FieldDescriptor.CPPTYPE_DOUBLE: _NUMBER,
}
_MESSAGES = {
    # RFC 3339, section 5.6, in capitals.
    "google.protobuf.Timestamp": re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
        r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    ),
    "google.protobuf.Duration": re.compile(r"-?[0-9]+(\.[0-9]{1,9})?s"),
}


def is_written_well(value: object, field: FieldDescriptor) -> bool:
    """Tell whether a value that may be a text is in the form that its field has as one."""
    message = field.message_type
    form = _FORMS.get(field.cpp_type) if message is None else _MESSAGES.get(message.full_name)
    return form is None or not isinstance(value, str) or form.fullmatch(value) is not None
