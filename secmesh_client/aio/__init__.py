"""The client for asyncio: the same names as in secmesh_client."""

from secmesh_client.aio.channel import connect
from secmesh_client.aio.ingest import ingest
from secmesh_client.aio.paging import items, pages
from secmesh_client.aio.service_token import ServiceTokens
from secmesh_client.aio.streams import watch, whole
from secmesh_client.refusal import CallRefused, StreamCut, Violation
from secmesh_client.service_token import ServiceCredential
from secmesh_client.target import Tls
from secmesh_client.token_file import TokenFile

__all__ = [
    "CallRefused",
    "ServiceCredential",
    "ServiceTokens",
    "StreamCut",
    "Tls",
    "TokenFile",
    "Violation",
    "connect",
    "ingest",
    "items",
    "pages",
    "watch",
    "whole",
]
