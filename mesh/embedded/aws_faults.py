"""Faults in front of an AWS endpoint: operations that are refused or slowed down.

Errors have the wire format of each service's protocol, so that a client meets
what AWS would send. Operations are written ``service:Operation``.
"""

import io
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CALLS_PATH = "/embedded/calls"
"""Answers unsigned requests with how often each operation was called, as JSON."""
HOLD_SECONDS = 60.0
"""Longest that a held call waits."""
REQUEST_ID = "00000000-0000-0000-0000-000000000000"
_KEY = re.compile(r"Credential=(?P<key>[^/]+)/")
_SESSIONS = "ASIA"
"""What the ids of access keys begin with that end by themselves."""
_SCOPE = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_SIGNED = {
    "access-analyzer": "accessanalyzer",
    "elasticfilesystem": "efs",
    "elasticloadbalancing": "elbv2",
    "es": "opensearch",
    "monitoring": "cloudwatch",
    "sso": "sso-admin",
    "tagging": "resourcegroupstaggingapi",
}
"""Services by the name that requests of theirs are signed with, where it is another."""
_CLASSIC_BALANCERS = "2012-06-01"
"""Version of the API of load balancers of the first kind, which sign as those of the second do."""
_S3_CONTROL_PATH = "/v20180820/"
_XML = "text/xml"
_BUCKETS = "s3:ListBuckets"
_BUCKET_REGION = re.compile(rb"<BucketRegion>[^<]*</BucketRegion>")


@dataclass(frozen=True)
class Fault:
    """What an operation is answered instead of its result."""

    status: int
    code: str
    message: str


def denied(protocol: str) -> Fault:
    """Give the refusal for want of a permission, as a protocol's services word it."""
    message = "not authorized to perform this operation"
    if protocol == "ec2":
        return Fault(403, "UnauthorizedOperation", message)
    if protocol == "json":
        return Fault(400, "AccessDeniedException", message)
    if protocol == "rest-json":
        return Fault(403, "AccessDeniedException", message)
    return Fault(403, "AccessDenied", message)


def throttled(protocol: str) -> Fault:
    """Give the request to slow down, as a protocol's services word it."""
    message = "Rate exceeded"
    if protocol == "ec2":
        return Fault(503, "RequestLimitExceeded", message)
    if protocol == "json":
        return Fault(400, "ThrottlingException", message)
    if protocol == "rest-json":
        return Fault(429, "TooManyRequestsException", message)
    if protocol == "rest-xml":
        return Fault(503, "SlowDown", message)
    return Fault(400, "Throttling", message)


def expired(protocol: str) -> Fault:
    """Give the refusal of a session that has ended, as a protocol's services word it."""
    message = "The security token included in the request is expired"
    if protocol == "ec2":
        return Fault(400, "RequestExpired", message)
    if protocol == "json":
        return Fault(400, "ExpiredTokenException", message)
    if protocol == "rest-json":
        return Fault(403, "ExpiredTokenException", message)
    if protocol == "rest-xml":
        return Fault(400, "ExpiredToken", message)
    return Fault(403, "ExpiredToken", message)


class Faults:
    """Which operations fail, changeable while the endpoint serves; counts every call."""

    def __init__(
        self,
        denied: Iterable[str] = (),
        throttled: Iterable[str] = (),
        *,
        bucket_regions: bool = True,
    ) -> None:
        self.bucket_regions = bucket_regions
        """Whether the list of buckets says where each is; other makers' S3 says nothing of it."""
        self._lock = threading.Lock()
        self._made: dict[str, Callable[[str], Fault]] = {}
        self._held: dict[str, threading.Event] = {}
        self._limit = 0
        self._recent: deque[float] = deque()
        self._delay = 0.0
        self._sessions: set[str] = set()
        self._ended: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.deny(*denied)
        self.throttle(*throttled)

    def deny(self, *operations: str) -> None:
        """Refuse these operations from now on."""
        self._set(operations, denied)

    def throttle(self, *operations: str) -> None:
        """Ask these operations to slow down from now on, without end."""
        self._set(operations, throttled)

    def limit(self, calls: int) -> None:
        """Ask every call to slow down beyond so many answered in a second; 0 for no limit."""
        with self._lock:
            self._limit = calls
            self._recent.clear()

    def delay(self, seconds: float) -> None:
        """Let every call take so much longer from now on."""
        with self._lock:
            self._delay = seconds

    def end_sessions(self) -> None:
        """Let all sessions be over that were used so far."""
        with self._lock:
            self._ended |= self._sessions

    def counted(self) -> dict[str, int]:
        """Give how often each operation was called."""
        with self._lock:
            return dict(self.calls)

    def _too_fast(self) -> bool:
        if not self._limit:
            return False
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            return True
        self._recent.append(now)
        return False

    def hold(self, operation: str) -> threading.Event:
        """Let calls of an operation wait from now on until the event is set."""
        protocol_of(operation.partition(":")[0])
        with self._lock:
            return self._held.setdefault(operation, threading.Event())

    def _set(self, operations: Iterable[str], made: Callable[[str], Fault]) -> None:
        for operation in operations:
            protocol_of(operation.partition(":")[0])
        with self._lock:
            self._made.update(dict.fromkeys(operations, made))

    def clear(self) -> None:
        """Let everything through, and count from zero."""
        with self._lock:
            for held in self._held.values():
                held.set()
            self._held.clear()
            self._made.clear()
            self._limit = 0
            self._delay = 0.0
            self._sessions.clear()
            self._ended.clear()
            self.calls.clear()

    def meet(self, operation: str, access_key_id: str = "") -> Fault | None:
        """Count a call and give the fault it meets, if any."""
        with self._lock:
            self.calls[operation] += 1
            if access_key_id.startswith(_SESSIONS):
                self._sessions.add(access_key_id)
            made = throttled if self._too_fast() else self._made.get(operation)
            held = self._held.get(operation)
            delay = self._delay
        if delay:
            time.sleep(delay)
        if held is not None:
            held.wait(HOLD_SECONDS)
        with self._lock:
            if access_key_id in self._ended:
                made = expired
        return made(protocol_of(operation.partition(":")[0])) if made else None


class FaultLayer:
    """WSGI application that fails chosen operations and hands all others on."""

    def __init__(self, application: "WSGIApplication", faults: Faults) -> None:
        self._application = application
        self._faults = faults

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        operation = operation_of(environ)
        if not operation and environ.get("PATH_INFO") == CALLS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._faults.counted()).encode()]
        fault = self._faults.meet(operation, key_of(environ)) if operation else None
        if fault is None:
            answer = self._application(environ, start_response)
            if operation == _BUCKETS and not self._faults.bucket_regions:
                return [_BUCKET_REGION.sub(_same_length, b"".join(answer))]
            return answer
        service = operation.partition(":")[0]
        content_type, body = error_body(service, fault)
        length = str(len(body))
        headers = [("Content-Type", content_type), ("Content-Length", length)]
        start_response(f"{fault.status} Fault", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _same_length(found: re.Match[bytes]) -> bytes:
    # The length of the answer is told already.
    return b" " * len(found[0])


def error_body(service: str, fault: Fault) -> tuple[str, bytes]:
    """Write an error as a service does; gives content type and body."""
    protocol = protocol_of(service)
    code, message = escape(fault.code), escape(fault.message)
    error = f"<Error><Code>{code}</Code><Message>{message}</Message>"
    request = f"<RequestId>{REQUEST_ID}</RequestId>"
    if protocol in ("json", "rest-json"):
        # REST services read the code from "code", the others from "__type".
        told = {"__type": fault.code, "code": fault.code, "message": fault.message}
        text = json.dumps(told)
        return "application/x-amz-json-1.1", text.encode()
    if protocol == "ec2":
        ec2_request = f"<RequestID>{REQUEST_ID}</RequestID>"
        text = f"<Response><Errors>{error}</Error></Errors>{ec2_request}</Response>"
    elif service == "s3":
        text = f"{error}{request}</Error>"
    else:
        text = f"<ErrorResponse>{error}</Error>{request}</ErrorResponse>"
    return _XML, b'<?xml version="1.0" encoding="UTF-8"?>' + text.encode()


def operation_of(environ: Mapping[str, Any]) -> str:
    """Tell the operation that a signed request asks for; empty if it is none that is known."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return ""
    path = environ.get("PATH_INFO", "/")
    service = _service_of(scope["service"], path)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return f"{service}:{target.rpartition('.')[2]}"
    if protocol_of(service).startswith("rest-"):
        query = environ.get("QUERY_STRING", "")
        name = _rest_operation(service, environ["REQUEST_METHOD"], path, query)
    else:
        form = _form(environ)
        name = form.get("Action", [""])[0]
        if service == "elbv2" and form.get("Version") == [_CLASSIC_BALANCERS]:
            service = "elb"
    return f"{service}:{name}" if name else ""


def region_of(environ: Mapping[str, Any]) -> str:
    """Tell the region that a request is signed for; empty if it is not signed."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return scope["region"] if scope else ""


def _service_of(signed: str, path: str) -> str:
    if signed == "s3" and path.startswith(_S3_CONTROL_PATH):
        return "s3control"
    if signed == "apigateway" and path.startswith("/v2/"):
        return "apigatewayv2"
    return _SIGNED.get(signed, signed)


def key_of(environ: Mapping[str, Any]) -> str:
    """Tell the id of the access key that a request is signed with; empty if it is not signed."""
    found = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found["key"] if found else ""


@cache
def protocol_of(service: str) -> str:
    """Give the wire protocol of a service. Raises botocore's UnknownServiceError."""
    from moto.core.utils import get_service_model

    return str(get_service_model(service).resolved_protocol)


def _form(environ: Mapping[str, Any]) -> dict[str, list[str]]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length)
    if isinstance(environ, dict):
        # The application reads the body after us.
        environ["wsgi.input"] = io.BytesIO(body)
    return parse_qs(body.decode())


@dataclass(frozen=True)
class _Route:
    name: str
    method: str
    path: re.Pattern[str]
    keys: frozenset[str]
    """Query parameters that tell operations with one path apart."""


@cache
def _routes(service: str) -> tuple[_Route, ...]:
    """Give the routes of a REST service, the most specific first."""
    from moto.core.utils import get_service_model

    model = get_service_model(service)
    routes = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated:
            continue
        path, _, query = str(operation.http["requestUri"]).partition("?")
        members = operation.input_shape.members if operation.input_shape else {}
        required = operation.input_shape.required_members if operation.input_shape else ()
        needed = {
            members[each].serialization["name"]
            for each in required
            if members[each].serialization.get("location") == "querystring"
        }
        pattern = re.sub(r"\\\{\w+\\\+\\\}", ".+", re.escape(path))
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)
        keys = frozenset(parse_qs(query, keep_blank_values=True)) | needed
        routes.append(_Route(name, operation.http["method"], re.compile(f"{pattern}/?"), keys))
    return tuple(sorted(routes, key=lambda route: (-len(route.keys), route.name)))


def _rest_operation(service: str, method: str, path: str, query: str) -> str:
    given = parse_qs(query, keep_blank_values=True).keys()
    for route in _routes(service):
        if route.method == method and route.keys <= given and route.path.fullmatch(path):
            return route.name
    return ""
