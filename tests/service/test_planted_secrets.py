"""What second factors and phishing campaigns must never tell: looked for wherever it could stand.

The server logs all it can, statements too. Looked through are its log, a dump of the database, the
watch feed from the beginning, every record that can be read, and every refusal.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from google.protobuf.message import Message

from mesh.embedded.postgres import programs
from mesh.identifiers import new_uuid
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh.security.v1 import mfa_service_pb2 as mfa
from secmesh.security.v1 import phishing_campaign_pb2 as campaign
from secmesh.security.v1 import phishing_service_pb2 as pb
from secmesh.security.v1.phishing_service_pb2_grpc import PhishingServiceStub
from tests.databases import server
from tests.service.mfa_world import Factors
from tests.service.security_world import KINDS, refused

COLLECTIONS = (
    *("users", "mfa_devices", "mfa_backup_codes", "iam_audit_logs"),
    *("phishing_campaigns", "phishing_templates", "phishing_results"),
)
TYPED = "hunter2-typed-into-a-form"
SMTP = "smtp-password-of-the-sender"


def second_factors(factors: Factors, told: list[Any]) -> Iterator[str]:
    """Enrol, take, mistake, lock and revoke; give every secret there was."""
    made = factors.enroll(otp_digits=8)
    user = made.user
    yield from (made.secret, made.uri, quote(made.uri, safe=""))
    first, second, wrong = made.code(), made.next(), made.wrong()
    told.append(factors.confirm(made, first))
    verify = mfa.VerifyTotpRequest(name=made.name, code=wrong)
    told.append(refused(factors.stub.VerifyTotp, verify))
    told.append(factors.verify(made, second))
    verify.code = second
    told.append(refused(factors.stub.VerifyTotp, verify))
    yield from (first, second, wrong)
    codes = factors.codes(user)
    told.append(factors.use(user, codes[0]))
    for code in (codes[0], "ABCDEFGH-WRONG-BACKUP"):
        request = mfa.UseBackupCodeRequest(parent=user, code=code)
        told.append(refused(factors.stub.UseBackupCode, request))
        yield code
    for code in codes:
        yield from (code, code.replace("-", ""), code.lower())
    malformed = mfa.VerifyTotpRequest(name=made.name, code="malformed-otp-code")
    told.append(refused(factors.stub.VerifyTotp, malformed))
    yield malformed.code
    other = factors.enroll(user)
    yield from (other.secret, other.uri)
    while (error := refused(factors.stub.VerifyTotp, verify)).reason != "MFA_LOCKED":
        told.append(error)
    told.append(error)
    told.append(factors.stub.RevokeDevice(mfa.RevokeDeviceRequest(name=made.name)))


def phishing(factors: Factors, told: list[Any]) -> Iterator[str]:
    """Run a campaign with somebody who types a password; give what must be nowhere."""
    stub = factors.world.stub_of("acme", PhishingServiceStub, "admin")
    *parents, request = factors.world.plan(KINDS["phishing_campaigns"], "planted", whole=False)
    body = request.record.phishing_campaign
    body.status = campaign.PHISH_CAMPAIGN_STATUS_CREATED
    body.smtp_password = SMTP
    body.target_groups.append("Planted")
    _, person = factors.world.write(
        [*parents, request, *factors.world.plan(KINDS["users"], "planted", whole=False)]
    )[-2:]
    person.user.department = "Planted"
    person.user.status = 2
    person.user.role = 6
    factors.change(person)
    name = f"{request.parent}/{request.record_id}"
    told.append(stub.LaunchCampaign(pb.LaunchCampaignRequest(name=name)))
    listed = ListRecordsRequest(
        parent="tenants/acme/phishing_results", filter=f'campaign_id == "{name}"'
    )
    (result,) = factors.world.stub.ListRecords(listed).records
    event = pb.PhishingEvent(
        recipient_key=result.phishing_result.recipient_key, type=pb.PHISHING_EVENT_TYPE_SUBMITTED
    )
    # A landing page that sends along what was typed, in a field that the contract lacks (1000).
    extra = TYPED.encode()
    event.MergeFromString(b"\xc2\x3e" + bytes([len(extra)]) + extra)
    assert extra in event.SerializeToString()
    events = pb.RecordEventsRequest(parent=name, events=[event], request_id=new_uuid())
    told.append(stub.RecordEvents(events))
    told.append(stub.RecordEvents(events))
    told.append(stub.GetCampaignResults(pb.GetCampaignResultsRequest(name=name)))
    told.append(stub.CompleteCampaign(pb.CompleteCampaignRequest(name=name)))
    yield from (TYPED, SMTP)


def texts_of(told: Iterable[Any]) -> Iterator[str]:
    for each in told:
        message: Message = each if isinstance(each, Message) else each.status
        yield str(message)
        yield message.SerializeToString().decode("latin-1")


def records_of(factors: Factors) -> Iterator[Message]:
    for collection in COLLECTIONS:
        request = ListRecordsRequest(parent=f"tenants/acme/{collection}", page_size=1000)
        answer = factors.world.stub.ListRecords(request)
        assert answer.records, collection
        yield answer


def changes_of(factors: Factors, last: str) -> Iterator[Message]:
    """Follow the feed from what is there on, until a change that was made last."""
    stream = factors.world.stub.WatchRecords(
        WatchRecordsRequest(parent="tenants/acme", revision="0-0"), timeout=60
    )
    for each in stream:
        yield each
        if each.changed.name == last:
            stream.cancel()
            return
    raise AssertionError("the feed ended before the last change")


def dump_of(factors: Factors) -> str:
    name = sa.make_url(factors.access.owner).database or ""
    program = shutil.which("pg_dump", path=str(programs(18)))
    assert program is not None
    command = [program, "--inserts", server(18).url(name)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def found(secret: str, text: str) -> bool:
    """Tell whether a secret stands in a text; digits within a longer number are none."""
    if secret.isdigit():
        return re.search(rf"(?<!\d){secret}(?!\d)", text) is not None
    return secret in text


def test_no_secret_is_told_kept_or_logged(factors: Factors) -> None:
    told: list[Any] = []
    planted = {*second_factors(factors, told), *phishing(factors, told)}
    assert len(planted) > 40
    last = factors.user()
    places = {
        "answers": "\n".join(texts_of(told)),
        "records": "\n".join(texts_of(records_of(factors))),
        "changes": "\n".join(texts_of(changes_of(factors, last))),
        "database": dump_of(factors),
        "log": (factors.home / "log").read_text(),
    }
    # Each place was looked into: it holds what it may hold.
    assert "mfa_devices" in places["answers"]
    assert "MFA_DEVICE_STATUS_REVOKED" in places["records"]
    assert "mfa_device" in places["changes"]
    assert "sealed:" in places["database"]
    assert "hmac-sha256:" in places["database"]
    assert "INSERT INTO mfa_backup_codes" in places["log"]
    leaks = [
        (place, each) for place, text in places.items() for each in planted if found(each, text)
    ]
    assert leaks == []
