"""A gRPC-Web client of frames (doc/PROTOCOL-WEB.md of gRPC), binary and text, over HTTP/1.1."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"
TRAILERS = 0x80
"""Bit of a frame's first byte: it holds trailers, not a message."""


@dataclass(frozen=True)
class WebAnswer:
    """What came back: the messages, and how it ended."""

    response: httpx.Response
    messages: list[bytes]
    trailers: dict[str, str]
    """Of the last frame; of the headers where there was no message (trailers only)."""

    @property
    def status(self) -> int:
        return int(self.trailers["grpc-status"])

    @property
    def reason(self) -> str:
        """Reason in ``grpc-status-details-bin``, whose code agrees with the status."""
        encoded = self.trailers["grpc-status-details-bin"]
        packed = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
        status = status_pb2.Status.FromString(packed)
        assert status.code == self.status
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.domain == "secmesh"
        return str(info.reason)


def frame(message: Message) -> bytes:
    packed = message.SerializeToString()
    return b"\0" + len(packed).to_bytes(4, "big") + packed


def call(
    client: httpx.Client,
    path: str,
    message: Message,
    headers: dict[str, str],
    content_type: str = BINARY,
) -> WebAnswer:
    """Send one message and read the whole answer."""
    content = frame(message)
    text = content_type == TEXT
    sent = {"x-grpc-web": "1", "content-type": content_type, "accept": content_type, **headers}
    response = client.post(
        path, content=base64.b64encode(content) if text else content, headers=sent
    )
    assert response.status_code == 200, response.text
    if "grpc-status" in response.headers:
        return WebAnswer(response, [], dict(response.headers))
    assert response.headers["content-type"] == content_type
    body = _decoded(response.content) if text else response.content
    found = list(frames(body))
    assert [kind for kind, _ in found] == [0] * (len(found) - 1) + [TRAILERS]
    return WebAnswer(response, [each for _, each in found[:-1]], _trailers(found[-1][1]))


def _decoded(text: bytes) -> bytes:
    """Decode base64 that was written in pieces, each with its own padding."""
    return b"".join(base64.b64decode(text[at : at + 4]) for at in range(0, len(text), 4))


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the kind and the content of each frame."""
    while body:
        size = int.from_bytes(body[1:5], "big")
        yield body[0], body[5 : 5 + size]
        body = body[5 + size :]


def _trailers(block: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.decode().split("\r\n") if line)
    return {name: value.strip() for name, _, value in pairs}
