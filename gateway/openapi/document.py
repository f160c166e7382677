"""The document as a whole."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from gateway.contracts import Deployable, deployables
from gateway.edge.key_exchange import HEADER as KEY_HEADER
from gateway.openapi.errors import error_response, response_name
from gateway.openapi.operations import operations
from gateway.openapi.schemas import Schemas
from mesh.contract.image import comment

Json = dict[str, Any]
COMMITTED = Path(__file__).parent.parent / "openapi.json"
VERSION = "1"
ABOUT = """\
Bodies and parameters are checked strictly: an unknown field, an unknown parameter or a wrong type
is refused with the reason `BODY_INVALID`. Every answer carries `x-request-id`; a request may bring
its own, of letters, digits and `._-`. 64-bit integers are strings, times are RFC 3339, durations
are seconds with the letter s. The same methods are served as gRPC on the same port.\
"""


def document(services: Iterable[Deployable]) -> Json:
    """Write the document of some services; the same services always give the same document."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    tags: list[Json] = []
    responses: dict[str, Json] = {}
    for service in services:
        names = service.catalogue.services
        tags.extend({"name": name, "description": comment(name)} for name in names)
        for path, verb, operation in operations(service, schemas):
            paths.setdefault(path, {})[verb] = operation
        responses[response_name(service)] = error_response(service, schemas)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    api_key = {"type": "apiKey", "in": "header", "name": KEY_HEADER}
    return {
        "openapi": "3.1.0",
        "info": {"title": "secmesh", "version": VERSION, "description": ABOUT.replace("\n", " ")},
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": tags,
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components(),
            "responses": responses,
            "securitySchemes": {"bearer": bearer, "apiKey": api_key},
        },
    }


def document_bytes(services: Iterable[Deployable]) -> bytes:
    """Write the document as JSON text with a line's end."""
    # Eight times as fast as json, whose writer with indents is in Python.
    return orjson.dumps(document(services), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def committed_bytes() -> bytes:
    """Write the document of every service of the contracts, as it is committed."""
    return document_bytes(deployables().values())
