"""Signatures are those that botocore makes, whatever day, secret and request come in turn."""

from datetime import UTC, datetime
from unittest.mock import patch

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from mesh.aws.signature import Signer, Unsigned

SIGNERS = {name: Signer(name, "eu-west-1") for name in ("s3", "lambda")}
"""Of all examples, so that the key of one is at hand when the next comes."""
HOSTS = ("https://Lambda.example.com:443", "http://127.0.0.1:5000", "http://[::1]:80", "https://a")
NAMES = st.sampled_from(("Content-Type", "X-Amz-Target", "User-Agent", "x-amz-Meta", "Traceparent"))
PATHS = st.text(alphabet="a.b/%2F~-+*:é", max_size=12)
QUERIES = st.lists(st.sampled_from(("b=2", "a", "a=", "a=1", "%C3%A9=x%20y", "b=10")), max_size=4)


@given(
    service=st.sampled_from(sorted(SIGNERS)),
    method=st.sampled_from(("GET", "POST")),
    host=st.sampled_from(HOSTS),
    path=PATHS,
    query=QUERIES,
    headers=st.dictionaries(NAMES, st.text(alphabet="a \t1;é", max_size=8)),
    body=st.binary(max_size=20),
    secret=st.sampled_from(("one", "other")),
    token=st.sampled_from((None, "token/+=")),
    moment=st.sampled_from(((2026, 11, 22), (2026, 11, 23), (2027, 1, 1))),
)
def test_a_request_is_signed_as_botocore_does(
    service: str,
    method: str,
    host: str,
    path: str,
    query: list[str],
    headers: dict[str, str],
    body: bytes,
    secret: str,
    token: str | None,
    moment: tuple[int, int, int],
) -> None:
    url = f"{host}/{path}" + (f"?{'&'.join(query)}" if query else "")
    credentials = ReadOnlyCredentials("AKIDEXAMPLE", secret, token)
    now = datetime(*moment, 1, 2, 3, tzinfo=UTC)
    wanted = AWSRequest(method, url, dict(headers), body)
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    with patch("botocore.auth.get_current_datetime", lambda: now):
        kind(credentials, service, "eu-west-1").add_auth(wanted)
    signed = SIGNERS[service].signed(
        Unsigned(method, url, headers, body), credentials, now.strftime(SIGV4_TIMESTAMP)
    )
    assert signed == dict(wanted.headers.items())
