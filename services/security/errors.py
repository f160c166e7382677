"""What the security service refuses, beside the refusals every service shares."""

from mesh.errors import Reason
from secmesh.security.v1 import error_reason_pb2


def reason(value: int) -> Reason:
    """Give one reason of this service's contract."""
    return Reason(error_reason_pb2.ErrorReason, value)
