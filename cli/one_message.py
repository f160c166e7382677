"""Files that go to the service in one message, whose contract bounds them."""

from pathlib import Path

from google.protobuf.message import Message

from buf.validate import validate_pb2
from cli.connection import UsageProblem

_FIELD = "document"


def document_in(file: Path, request: type[Message]) -> bytes:
    """Read a file as the ``document`` of a request; UsageProblem if it is larger than that takes.

    Else the message would be refused on its way, in words that do not tell what to do.
    """
    options = request.DESCRIPTOR.fields_by_name[_FIELD].GetOptions()
    most: int = options.Extensions[validate_pb2.field].bytes.max_len
    with file.open("rb") as opened:
        read = opened.read(most + 1)
    if len(read) > most:
        raise UsageProblem(f"{file} is larger than {most:,} bytes, the most that is taken at once")
    return read
