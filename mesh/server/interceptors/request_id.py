"""Gives every call an id that its answer, its errors and its log lines carry."""

import re
from collections.abc import Awaitable
from typing import Any

from mesh.identifiers import new_uuid
from mesh.server.call import REQUEST_ID_KEY, Call, Metadata
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id_of(metadata: Metadata) -> str:
    """Give the caller's own id if it is sane, else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return new_uuid()


class RequestId(CallInterceptor):
    """Takes ``x-request-id`` of the caller or makes one."""

    open_methods = True

    def around(
        self, proceed: Proceed, call: Call, request: Any, context: Context
    ) -> Awaitable[Any]:
        call.request_id = request_id_of(call.metadata)
        return proceed(call, request, context)
