"""The reference of all error reasons, written from the contracts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.descriptor import EnumDescriptor

from mesh.contract.image import comment, image, package_files
from secmesh.options.v1 import reason_pb2

COMMITTED = Path(__file__).parents[2] / "docs" / "errors.md"
_ENUM, _PREFIX = "ErrorReason", "ERROR_REASON_"
_SHARED = "secmesh.rpc.v1"
"""Comes first: any service may answer with its reasons."""

# What a caller does about a status, by AIP-193, AIP-194 and the comments of google/rpc/code.proto.
_REMEDIES = {
    "INVALID_ARGUMENT": "Change the request; the same one fails again.",
    "FAILED_PRECONDITION": "Bring the resource into the state that is needed, then try again.",
    "OUT_OF_RANGE": "Change the request; the same one fails again.",
    "UNAUTHENTICATED": "Get a token that is valid, then try again.",
    "PERMISSION_DENIED": "Ask for the permission; the same call fails again without it.",
    "NOT_FOUND": "Check the name and whose it is.",
    "ALREADY_EXISTS": "Read what exists, or choose another name.",
    "ABORTED": "Read again, and repeat the whole change with what was read.",
    "RESOURCE_EXHAUSTED": "Send less; if there is a RetryInfo, try again after its delay.",
    "CANCELLED": "Nothing: the caller gave the call up.",
    "DEADLINE_EXCEEDED": "Allow more time or ask for less; a write may have happened.",
    "UNAVAILABLE": "Try again after a pause (RetryInfo), a write only if it is idempotent.",
    "UNIMPLEMENTED": "Use a service of a version that has the method.",
    "INTERNAL": "Report it with the request id, which leads to the log entry.",
    "DATA_LOSS": "Report it with the request id; restore from a backup.",
    "UNKNOWN": "Report it with the request id.",
}
_HEAD = """\
# Error reasons

Written from the contracts by `python -m mesh.contract errors --write`; do not edit.

Every error is a `google.rpc.Status`, over gRPC and REST alike. Its `google.rpc.ErrorInfo` has the
domain `secmesh`, one of the reasons below, and `request_id` in its metadata beside the keys that
are listed. Branch on the reason, never on the message.
"""


class ReasonUndocumented(Exception):
    """A reason lacks what the reference says of it; the message names it."""


@dataclass(frozen=True)
class ReasonEntry:
    """One reason as its contract states it."""

    name: str
    code: str
    meaning: str
    metadata: tuple[str, ...]

    @property
    def remedy(self) -> str:
        """What a caller does about it."""
        return _REMEDIES[self.code]


def packages() -> list[str]:
    """Give the packages that have reasons, the shared one first."""
    found = {
        file.package for file in image().file if any(enum.name == _ENUM for enum in file.enum_type)
    }
    return sorted(found, key=lambda package: (package != _SHARED, package))


def reasons(package: str) -> Iterator[ReasonEntry]:
    """Give the reasons of a package. Raises ReasonUndocumented."""
    codes = {code.value[0]: code.name for code in grpc.StatusCode}
    for enum in _enums(package):
        for value in enum.values:
            if value.number == 0:
                continue
            culprit = f"{enum.full_name}.{value.name}"
            option = value.GetOptions().Extensions[reason_pb2.reason]
            meaning = comment(culprit)
            if not meaning:
                raise ReasonUndocumented(f"{culprit} has no comment")
            if codes.get(option.code) not in _REMEDIES:
                raise ReasonUndocumented(f"{culprit} has no code of an error")
            name = value.name.removeprefix(_PREFIX)
            yield ReasonEntry(name, codes[option.code], meaning, tuple(option.metadata))


def reference() -> str:
    """Write the whole reference as Markdown. Raises ReasonUndocumented."""
    return _HEAD + "".join(_section(package) for package in packages())


def _enums(package: str) -> Iterator[EnumDescriptor]:
    for file in package_files(package):
        if _ENUM in file.enum_types_by_name:
            yield file.enum_types_by_name[_ENUM]


def _section(package: str) -> str:
    title = "Any service" if package == _SHARED else f"`{package}`"
    return f"\n## {title}\n" + "".join(map(_entry, reasons(package)))


def _entry(entry: ReasonEntry) -> str:
    keys = ", ".join(f"`{key}`" for key in entry.metadata) or "none"
    return (
        f"\n### {entry.name}\n{entry.meaning}\n\n"
        f"- Status: `{entry.code}`\n- Metadata: {keys}\n- What to do: {entry.remedy}\n"
    )
