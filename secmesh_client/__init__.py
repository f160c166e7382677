"""The client of a secmesh: channels to its services that retry and raise typed errors.

Stubs and messages are in ``secmesh.<service>.v1``. What is here blocks; ``secmesh_client.aio``
has the same names for asyncio. Modules of this package that are not named here may change.
"""

from secmesh_client import aio
from secmesh_client.channel import connect, over
from secmesh_client.ingest import ingest
from secmesh_client.outgoing import Token
from secmesh_client.paging import items, pages
from secmesh_client.refusal import CallRefused, StreamCut, Violation, refusal_in, refusal_of
from secmesh_client.service_token import ServiceCredential, ServiceTokens
from secmesh_client.streams import watch, whole
from secmesh_client.target import Tls
from secmesh_client.token_file import TokenFile

__all__ = [
    "CallRefused",
    "ServiceCredential",
    "ServiceTokens",
    "StreamCut",
    "Tls",
    "Token",
    "TokenFile",
    "Violation",
    "aio",
    "connect",
    "ingest",
    "items",
    "over",
    "pages",
    "refusal_in",
    "refusal_of",
    "watch",
    "whole",
]
