"""What the crypto service refuses, beside the refusals every service shares."""

from mesh.errors import Reason, Refusal
from secmesh.crypto.v1 import error_reason_pb2


def reason(value: int) -> Reason:
    """Give one reason of this service's contract."""
    return Reason(error_reason_pb2.ErrorReason, value)


class ValueUnopenable(Refusal):
    """A sealed value that does not open; whatever is wrong, the answer is this one."""

    reason = reason(error_reason_pb2.ERROR_REASON_VALUE_UNOPENABLE)

    def __init__(self) -> None:
        super().__init__("the value cannot be opened")


class KeyDisabled(Refusal):
    """A custodian refuses the use of a key, until its owner allows it again."""

    reason = reason(error_reason_pb2.ERROR_REASON_KEY_DISABLED)

    def __init__(self, custodian: str) -> None:
        super().__init__(
            f"the key of {custodian} is disabled or its use denied",
            metadata={"custodian": custodian},
        )


class ValueInvalid(Refusal):
    """A value that its field does not take; the message never holds the value."""

    reason = reason(error_reason_pb2.ERROR_REASON_VALUE_INVALID)

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", metadata={"field": field})


class FieldNotSealed(Refusal):
    """A field that the tenant does not have, or keeps in clear."""

    reason = reason(error_reason_pb2.ERROR_REASON_FIELD_NOT_SEALED)

    def __init__(self, field: str) -> None:
        super().__init__(f"there is no sealed field {field!r}", metadata={"field": field})


class EntryNotSealed(Refusal):
    """An entry of the audit that no checkpoint covers yet, or not the one asked for."""

    reason = reason(error_reason_pb2.ERROR_REASON_ENTRY_NOT_SEALED)

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the entry is not under the checkpoint of size {size}", metadata={"size": str(size)}
        )


class UserErased(Refusal):
    """A person who would be stored by the id of one who was erased."""

    reason = reason(error_reason_pb2.ERROR_REASON_USER_ERASED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was erased", metadata={"resource": name})
