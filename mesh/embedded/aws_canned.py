"""Operations that the AWS endpoint on this machine answers itself, in place of moto.

Moto does not know every operation that is collected. Here an operation is given its answer as
AWS documents it; it is written in the wire format of its service by moto's own writers, a page
at a time where the operation has pages. Operations are written ``service:Operation``.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import DataNotFoundError
from botocore.loaders import create_loader
from botocore.paginate import PaginatorModel

from mesh.embedded.aws_faults import (
    Fault,
    error_body,
    key_of,
    operation_of,
    protocol_of,
    region_of,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PAGE = 100
"""Items of a page if the caller asks for no number of them."""
_TOKENS = ("NextToken", "nextToken", "NextMarker")
_VARIABLE = re.compile(r"\\\{(?P<name>\w+)(?P<whole>\\\+)?\\\}")

Answer = Mapping[str, Any] | Fault
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """One call: its parameters by the names of the API reference, where it went and who asked."""

    operation: str
    region: str
    parameters: Parameters
    access_key_id: str = ""


@dataclass
class Canned:
    """The answers by operation, changeable while the endpoint serves."""

    page: int = PAGE
    answers: dict[str, Callable[[Asked], Answer | None]] = field(default_factory=dict)

    def put(
        self,
        operation: str,
        answer: Answer,
        region: str = "",
        elsewhere: Answer | None = MappingProxyType({}),
    ) -> None:
        """Answer an operation alike whatever is asked, in one region or in all of them."""

        def answering(asked: Asked) -> Answer | None:
            return answer if region in ("", asked.region) else elsewhere

        self.put_by(operation, answering)

    def put_each(
        self,
        operation: str,
        parameter: str,
        answers: Mapping[str, Answer],
        unknown: Answer,
        region: str = "",
        elsewhere: Answer | None = MappingProxyType({}),
    ) -> None:
        """Answer an operation by the value of one parameter, all other values with ``unknown``."""

        def answering(asked: Asked) -> Answer | None:
            known = answers.get(str(asked.parameters.get(parameter)), unknown)
            return known if region in ("", asked.region) else elsewhere

        self.put_by(operation, answering)

    def put_by(self, operation: str, answering: Callable[[Asked], Answer | None]) -> None:
        """Answer an operation by a function; what it gives None for is left to moto."""
        protocol_of(operation.partition(":")[0])
        self.answers[operation] = answering

    def clear(self) -> None:
        """Answer nothing any more."""
        self.answers.clear()
        self.page = PAGE


class CannedLayer:
    """WSGI application that answers what there is an answer for, and hands all others on."""

    def __init__(self, application: "WSGIApplication", canned: Canned) -> None:
        self._application = application
        self._canned = canned

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        operation = operation_of(environ) if self._canned.answers else ""
        answering = self._canned.answers.get(operation)
        if answering is None:
            return self._application(environ, start_response)
        body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        parameters = _parameters(operation, environ)
        asked = Asked(operation, region_of(environ), parameters, key_of(environ))
        answer = answering(asked)
        if answer is None:
            environ["wsgi.input"] = io.BytesIO(body)
            return self._application(environ, start_response)
        status, headers, text = written(asked, answer, self._canned.page)
        start_response(f"{status} Canned", [*headers, ("Content-Length", str(len(text)))])
        return [text]


def written(asked: Asked, answer: Answer, page: int) -> tuple[int, list[tuple[str, str]], bytes]:
    """Write an answer, or the page of it that is asked for, as its service would."""
    service, _, name = asked.operation.partition(":")
    if isinstance(answer, Fault):
        content_type, body = error_body(service, answer)
        return answer.status, [("Content-Type", content_type)], body
    from moto.core.serialize import get_serializer_class
    from moto.core.utils import get_service_model

    model = get_service_model(service).operation_model(name)
    writer = get_serializer_class(service, protocol_of(service))(operation_model=model)
    made = writer.serialize(_page_of(asked, dict(answer), page))
    text = made["body"]
    headers = [(key, str(value)) for key, value in made["headers"].items()]
    return made["status_code"], headers, text.encode() if isinstance(text, str) else text


def _page_of(asked: Asked, answer: dict[str, Any], size: int) -> dict[str, Any]:
    paging = _paging(asked.operation)
    if paging is None:
        return answer
    paged = answer
    if paging.within:
        paged = answer[paging.within] = dict(answer.get(paging.within) or {})
    items = paged.get(paging.items)
    if not isinstance(items, list):
        return answer
    first = int(asked.parameters.get(paging.asked) or 0)
    if paging.size:
        size = min(size, int(asked.parameters.get(paging.size) or size))
    paged[paging.items] = items[first : first + size]
    if first + size < len(items):
        paged[paging.told] = str(first + size)
        if paging.more:
            paged[paging.more] = True
    return answer


@dataclass(frozen=True)
class _Paging:
    items: str
    asked: str
    """Parameter that names the page."""
    told: str
    """Member of the answer that names the next page."""
    size: str
    """Parameter with the number of items of a page; empty if there is none."""
    within: str = ""
    """Member of the answer that holds items and token; empty if they stand in the answer itself."""
    more: str = ""
    """Member beside them that says whether there is a next page; empty if there is none."""


# One for all: to find what descriptions there are costs more than to read one.
_loader = cache(create_loader)


@cache
def _paging(operation: str) -> _Paging | None:
    """Tell how an operation is paged: as botocore knows, or by a token that comes and goes."""
    service, _, name = operation.partition(":")
    try:
        known = PaginatorModel(_loader().load_service_model(service, "paginators-1")).get_paginator(
            name
        )
    except (ValueError, DataNotFoundError):
        return _paging_by_token(service, name)
    asked, told, items = known["input_token"], known["output_token"], known["result_key"]
    items = items[0] if isinstance(items, list) else items
    if not all(isinstance(each, str) for each in (asked, told, items)):
        return None
    within = items.rpartition(".")[0]
    members = [items, told, str(known.get("more_results", ""))]
    if within:
        members = [each.removeprefix(f"{within}.") for each in members]
    items, told, more = members
    if not all(each.isidentifier() for each in (asked, items, told)):
        return None
    more = more if more.isidentifier() else ""
    return _Paging(items, asked, told, known.get("limit_key", ""), within, more)


def _paging_by_token(service: str, name: str) -> _Paging | None:
    from moto.core.utils import get_service_model

    model = get_service_model(service).operation_model(name)
    if model.input_shape is None or model.output_shape is None:
        return None
    given, told = model.input_shape.members, model.output_shape.members
    lists = [key for key, shape in told.items() if shape.type_name == "list"]
    for token in _TOKENS:
        if token in given and token in told and len(lists) == 1:
            sizes = [key for key in given if key.lower() in ("maxresults", "limit", "maxitems")]
            return _Paging(lists[0], token, token, sizes[0] if sizes else "")
    return None


def _parameters(operation: str, environ: "WSGIEnvironment") -> Parameters:
    from moto.core.parse import PROTOCOL_PARSERS
    from moto.core.utils import get_service_model
    from werkzeug.wrappers import Request

    service, _, name = operation.partition(":")
    model = get_service_model(service).operation_model(name)
    request = Request(environ)
    parsed: Parameters = PROTOCOL_PARSERS[protocol_of(service)](model).parse(
        {
            "method": request.method,
            "headers": request.headers,
            "body": request.get_data(parse_form_data=False),
            "values": request.values,
            "url_path": request.path,
            "url_params": _of_path(str(model.http.get("requestUri", "")), request.path),
        }
    )
    return parsed


def _of_path(pattern: str, path: str) -> dict[str, str]:
    """Give the variables of a path by its pattern, ``/v2/apis/{apiId}``."""

    def group(found: re.Match[str]) -> str:
        return f"(?P<{found['name']}>{'.+' if found['whole'] else '[^/]+'})"

    expression = _VARIABLE.sub(group, re.escape(pattern.partition("?")[0]))
    found = re.fullmatch(f"{expression}/?", path)
    return found.groupdict() if found else {}
