"""Calls whose first answer is plain, made without botocore's events.

Two thirds of what botocore spends on a call lie between the request that it has serialised and
the answer that it hands to the caller: events, headers as messages of e-mail, rules of retries.
Almost all reads need none of it. Here such an attempt is signed, sent and parsed at once. If
the answer is anything but a result or a fact of absence, botocore takes the attempt over, with
what it was answered, as the first of its own: retries, redirects and errors are botocore's.
"""

import uuid
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SIGV4_TIMESTAMP
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.compat import get_current_datetime
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError
from botocore.session import Session

from mesh.aws.operations import is_absence
from mesh.aws.outcomes import error_code, error_message
from mesh.aws.sending import Sending, hand_over
from mesh.aws.signature import Signer, Unsigned
from mesh.aws.transport import Transport, takes

_V4 = "v4"
_S3_V4 = "s3v4"
_S3 = "s3"
_S3_LIKE = frozenset({"s3-outposts", "s3-object-lambda", "s3express"})
"""Signed as S3 is, by rules of their own for what."""
_SIGNING = frozenset({"region", "signing_name", "disableDoubleEncoding"})
"""What rules of endpoints say of a signature that is made here."""
_ERROR = b"<Error"
"""What S3 may answer with a status of success."""
_ERRORS, _CLIENT_ERRORS, _SERVER_ERRORS = 300, 400, 500


class DirectEndpoint:
    """Stands in for the ``botocore.endpoint.Endpoint`` of a client; threads may share it."""

    def __init__(
        self, client: BaseClient, session: Session, sending: Sending, transport: Transport
    ) -> None:
        made: Any = client
        parsers: Any = session.get_component("response_parser_factory")
        self._behind = made._endpoint  # botocore has no other way to this seam
        self._signer = made._request_signer  # nor to the names of a signature
        self._config = made.meta.config
        self._service = made.meta.service_model.service_name
        self._parser = parsers.create_parser(made.meta.service_model.resolved_protocol)
        self._credentials: Any = session.get_credentials()
        self._sending = sending
        self._transport = transport
        self._signers: dict[tuple[str, str], Signer] = {}
        self._tries = f"attempt=1; max={self._config.retries['total_max_attempts']}"
        made._endpoint = self

    @property
    def host(self) -> str:
        """The URL of the service, as of botocore's endpoint."""
        return str(self._behind.host)

    def close(self) -> None:
        """Close what botocore keeps open."""
        self._behind.close()

    def make_request(
        self, operation_model: Any, request_dict: dict[str, Any]
    ) -> tuple[AWSResponse, dict[str, Any]]:
        """Make a call and give its answer, raw and parsed. Raises what botocore raises."""
        signer = self._signer_of(operation_model, request_dict)
        found = None if signer is None else self._attempt(operation_model, request_dict, signer)
        if found is not None:
            return found
        made: tuple[AWSResponse, dict[str, Any]] = self._behind.make_request(
            operation_model, request_dict
        )
        return made

    def _attempt(
        self, operation_model: Any, request_dict: dict[str, Any], signer: Signer
    ) -> tuple[AWSResponse, dict[str, Any]] | None:
        """Make the first attempt; None if botocore has to take it over."""
        credentials = self._credentials.get_frozen_credentials()
        request = self._request(request_dict, signer, credentials)
        if not takes(request):
            return None
        context, key = request_dict["context"], credentials.access_key
        self._sending.begin(operation_model.name)
        try:
            answer = self._transport.exchange(request)
        except Exception as problem:  # noqa: BLE001  # botocore decides on each what to do
            hand_over(context, problem, key)
            return None
        parsed = self._plain(operation_model, answer)
        if parsed is None:
            hand_over(context, answer, key)
            return None
        self._sending.end(operation_model.name, parsed)
        return answer, parsed

    def _signer_of(self, operation_model: Any, request_dict: dict[str, Any]) -> Signer | None:
        """Give who signs a request; None if it is in any way special."""
        context = request_dict["context"]
        signing = context.get("signing", {})
        name = signing.get("signing_name") or self._signer.signing_name
        ruled = context.get("auth_type")
        # By the rules of its endpoints S3 is signed in a way of its own; without, if it says so.
        usual = _S3_V4 if name == _S3 and not ruled else _V4
        if (
            _is_special(operation_model, request_dict)
            or self._credentials is None
            or self._config.auth_scheme_preference
            or (ruled or self._signer.signature_version) != usual
            or name in _S3_LIKE
            or not signing.keys() <= _SIGNING
        ):
            return None
        key = (name, signing.get("region") or self._signer.region_name)
        return self._signers.get(key) or self._signers.setdefault(key, Signer(*key))

    def _request(
        self, request_dict: dict[str, Any], signer: Signer, credentials: ReadOnlyCredentials
    ) -> AWSPreparedRequest:
        method, url, body = request_dict["method"], request_dict["url"], request_dict["body"]
        if isinstance(body, dict):
            body = urlencode(body, doseq=True)
        if isinstance(body, str):
            body = body.encode()
        unsigned = Unsigned(method, url, request_dict["headers"], body)
        moment = get_current_datetime().strftime(SIGV4_TIMESTAMP)
        headers: Any = signer.signed(unsigned, credentials, moment)
        # botocore keeps the id over all attempts of a call.
        context = request_dict["context"]
        retries = context.setdefault("retries", {})
        headers["amz-sdk-invocation-id"] = retries.setdefault("invocation-id", str(uuid.uuid4()))
        headers["amz-sdk-request"] = self._tries
        return AWSPreparedRequest(method, url, headers, body, stream_output=False, context=context)

    def _plain(self, operation_model: Any, answer: AWSResponse) -> dict[str, Any] | None:
        """Parse a result or a fact of absence; None for all else."""
        status, content = answer.status_code, answer.content
        failed = status >= _ERRORS
        if failed and not _CLIENT_ERRORS <= status < _SERVER_ERRORS:
            return None
        if not failed and _ERROR in content:
            return None
        described = {
            "headers": answer.headers,
            "status_code": status,
            "body": content,
            "context": {"operation_name": operation_model.name},
        }
        try:
            parsed: dict[str, Any] = self._parser.parse(described, operation_model.output_shape)
        except ResponseParserError:
            return None
        if failed:
            code, message = error_code(parsed), error_message(parsed)
            if not is_absence(f"{self._service}:{operation_model.name}", code, message):
                return None
            # Errors have members of their own beside code and text.
            shape = operation_model.service_model.shape_for_error_code(code)
            if shape is not None:
                parsed.update(self._parser.parse(described, shape))
        parsed["ResponseMetadata"]["RetryAttempts"] = 0
        return parsed


def _is_special(operation_model: Any, request_dict: dict[str, Any]) -> bool:
    """Tell whether a request is not in memory whole, or has digests or headers of other kinds."""
    context = request_dict["context"]
    return bool(
        operation_model.has_streaming_output
        or operation_model.has_streaming_input
        or operation_model.has_event_stream_output
        or context.get("unsigned_payload")
        or "checksum" in context
        or not all(isinstance(value, str) for value in request_dict["headers"].values())
    )
