"""Envoy's question about a request with an API key: which token takes the key's place."""

from envoy.service.auth.v3 import external_auth_pb2
from google.rpc import code_pb2, status_pb2

from gateway.edge.denial import denied
from gateway.edge.key_exchange import HEADER, KeyExchange, key_of
from gateway.edge.key_refusals import ApiKeysUnsupported
from mesh.errors import Refusal


async def authenticate(
    exchange: KeyExchange | None, request: external_auth_pb2.CheckRequest
) -> external_auth_pb2.CheckResponse:
    """Answer with the token, or with the refusal in the caller's own form.

    Args:
        exchange: None where API keys are not taken.
        request: A request that Envoy found to carry a key.
    """
    http = request.attributes.request.http
    address = request.attributes.source.address.socket_address.address
    try:
        key = key_of(http.headers)
        if key is None:
            return external_auth_pb2.CheckResponse(status=status_pb2.Status(code=code_pb2.OK))
        if exchange is None:
            raise ApiKeysUnsupported
        token = await exchange.exchange(key, address)
    except Refusal as refusal:
        return denied(refusal, http.headers)
    response = external_auth_pb2.CheckResponse(status=status_pb2.Status(code=code_pb2.OK))
    option = response.ok_response.headers.add()
    option.header.key, option.header.value = "authorization", f"Bearer {token}"
    option.append_action = option.OVERWRITE_IF_EXISTS_OR_ADD
    response.ok_response.headers_to_remove.append(HEADER)
    return response
