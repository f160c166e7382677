"""What is refused of persons and of what a tenant decides about them."""

from mesh.errors import Refusal
from secmesh.crypto.v1 import error_reason_pb2
from services.crypto.errors import reason


class PurposeRefused(Refusal):
    """A purpose that is missing, not the tenant's, or does not cover the field."""

    reason = reason(error_reason_pb2.ERROR_REASON_PURPOSE_REFUSED)

    def __init__(self, purpose: str, field: str) -> None:
        missing = f"a purpose is needed to read {field}"
        problem = f"the purpose {purpose!r} does not cover {field}" if purpose else missing
        super().__init__(problem, metadata={"purpose": purpose, "field": field})


class EncryptionDisabled(Refusal):
    """A value that must be sealed, while the tenant has switched sealing off."""

    reason = reason(error_reason_pb2.ERROR_REASON_ENCRYPTION_DISABLED)

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is never kept in clear", metadata={"field": field})


class FieldNotSearchable(Refusal):
    reason = reason(error_reason_pb2.ERROR_REASON_FIELD_NOT_SEARCHABLE)

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} cannot be searched", metadata={"field": field})


class TierLowered(Refusal):
    reason = reason(error_reason_pb2.ERROR_REASON_TIER_LOWERED)

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is kept at a higher tier", metadata={"field": field})


class SearchTooWide(Refusal):
    """A search whose candidates would have to be opened by the thousand."""

    reason = reason(error_reason_pb2.ERROR_REASON_SEARCH_TOO_WIDE)

    def __init__(self, field: str) -> None:
        super().__init__(f"too many values of {field} are alike", metadata={"field": field})
