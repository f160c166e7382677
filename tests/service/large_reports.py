"""Reports as large as tools write them, made while they are sent, and what they cost in memory."""

import json
from collections.abc import Iterator
from pathlib import Path

from google.api.httpbody_pb2 import HttpBody

from secmesh.security.v1.import_service_pb2 import ImportReportRequest, ImportReportResponse
from tests.service.import_world import Imports

MEGABYTE = 1_000_000
RESULT = 100_000
"""Bytes of one result, most of them code around the places that it names, which is not kept."""
_PART = 1024 * 1024
_PLACES, _STEPS = 10, 3


def _result(number: int) -> bytes:
    line = f"value_{number} = transform(value_{number}, option=None)  # and so on\n"
    around = line * (RESULT * 9 // 10 // _PLACES // len(line))
    file = {"uri": f"src/module_{number}.py"}
    place = {"artifactLocation": file, "region": {"startLine": 7, "snippet": {"text": line}}}
    related = {
        "physicalLocation": {
            "artifactLocation": file,
            "region": {"startLine": 7},
            "contextRegion": {"startLine": 1, "snippet": {"text": around}},
        }
    }
    step = {"physicalLocation": place}
    return json.dumps(
        {
            "ruleId": f"rule/{number % 50}",
            "message": {"text": f"flow {number}"},
            "locations": [{"physicalLocation": place}],
            "relatedLocations": [related] * _PLACES,
            "codeFlows": [{"threadFlows": [{"locations": [{"location": step}] * _STEPS}]}],
        }
    ).encode()


def report(size: int) -> Iterator[bytes]:
    """Write a SARIF report of about this many bytes."""
    yield b'{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "Large"}}, "results": ['
    for number in range(size // RESULT):
        yield (b"," if number else b"") + _result(number)
    yield b"]}]}"


def _parts(size: int, project: str) -> Iterator[ImportReportRequest]:
    first = ImportReportRequest(parent="tenants/acme", project=project)
    held = bytearray()
    for piece in report(size):
        held += piece
        while len(held) >= _PART:
            first.file.CopyFrom(HttpBody(data=bytes(held[:_PART])))
            del held[:_PART]
            yield first
            first = ImportReportRequest()
    first.file.CopyFrom(HttpBody(data=bytes(held)))
    yield first


def send(imports: Imports, size: int, project: str) -> ImportReportResponse:
    """Import a report of this many bytes, which is never whole in memory here."""
    answer: ImportReportResponse = imports.stub().ImportReport(_parts(size, project))
    return answer


def forget_peak(pid: int) -> None:
    """Begin anew to note the most memory that a process held (proc(5), clear_refs)."""
    (Path("/proc") / str(pid) / "clear_refs").write_text("5")


def peak(pid: int) -> float:
    """Give the most memory that a process held since then, in MB (proc(5), VmHWM)."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / MEGABYTE
