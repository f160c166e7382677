"""What is refused about rotations."""

from mesh.errors import Refusal
from secmesh.crypto.v1 import error_reason_pb2
from services.crypto.errors import reason


class RotationStatusUnfit(Refusal):
    """A rotation of another status than the call needs."""

    reason = reason(error_reason_pb2.ERROR_REASON_ROTATION_STATUS_UNFIT)

    def __init__(self, status: str) -> None:
        super().__init__(f"the rotation is {status}", metadata={"status": status})


class RotationConflict(Refusal):
    """Another rotation of the same key is not finished."""

    reason = reason(error_reason_pb2.ERROR_REASON_ROTATION_CONFLICT)

    def __init__(self, rotation: str) -> None:
        super().__init__(
            f"{rotation} is not finished: let it end, or roll it back",
            metadata={"rotation": rotation},
        )


class RotationOutdated(Refusal):
    """The key has another version now than when the rotation was planned or done."""

    reason = reason(error_reason_pb2.ERROR_REASON_ROTATION_OUTDATED)

    def __init__(self) -> None:
        super().__init__("the key was rotated since: plan again")


class RollbackWindowClosed(Refusal):
    """Too late: what a rollback needs may be destroyed."""

    reason = reason(error_reason_pb2.ERROR_REASON_ROLLBACK_WINDOW_CLOSED)

    def __init__(self) -> None:
        super().__init__("the time for a rollback is over")
