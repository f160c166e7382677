"""Certificates of ACM: until when they hold, whether they are renewed, and what uses them."""

from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.acm_pb2 import AcmCertificate
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

LIST = "acm:ListCertificates"
DESCRIBE = "acm:DescribeCertificate"
TAGS = "acm:ListTagsForCertificate"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, DESCRIBE, TAGS))
PAGE = 1000
# Without it ACM lists RSA keys of up to 2048 bits only.
# Source: AWS Certificate Manager API Reference, "Filters".
KEY_TYPES = [
    "RSA_1024",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "EC_prime256v1",
    "EC_secp384r1",
    "EC_secp521r1",
]
ELIGIBLE = "ELIGIBLE"
STUCK = ("FAILED", "PENDING_VALIDATION")
LISTED_MOMENTS = {
    "not_before": "NotBefore",
    "not_after": "NotAfter",
    "creation_date": "CreatedAt",
    "revocation_date": "RevokedAt",
}
DESCRIBED_FIELDS = (
    "alternative_names",
    "used_by",
    "in_use",
    "renewal_status",
    "auto_renews",
    "issuer",
    "signature_algorithm",
    "validation_method",
    "transparency_logging",
    "certificate_authority",
)
FIELDS = frozenset(AcmCertificate.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the certificates of one region."""
    certificates = reader.items(
        LIST,
        "CertificateSummaryList",
        page_size=PAGE,
        listing=True,
        Includes={"keyTypes": KEY_TYPES},
    )
    if isinstance(certificates, Unread):
        return Collected([], certificates)
    read = reader.fan_out(lambda each: _read_certificate(reader, each), certificates)
    return Collected([draft for draft in read if draft is not None])


def _read_certificate(reader: Reader, listed: Response) -> Draft[AcmCertificate] | None:
    arn = str(listed["CertificateArn"])
    described = reader.call(DESCRIBE, resource=arn, CertificateArn=arn)
    if isinstance(described, Absent):
        # Deleted since it was listed.
        return None
    draft = certificate_draft(listed, described)
    draft.take(reader.call(TAGS, resource=arn, CertificateArn=arn), ("tags",), _fill_tags)
    return draft


def certificate_draft(listed: Response, described: Answer) -> Draft[AcmCertificate]:
    """Map one certificate: its place in the list, and its description."""
    body = AcmCertificate(
        domain_name=listed.get("DomainName") or None,
        status=listed.get("Status"),
        certificate_type=listed.get("Type"),
        key_algorithm=listed.get("KeyAlgorithm"),
        renewal_eligibility=listed.get("RenewalEligibility"),
        exported=listed.get("Exported", False),
    )
    moments = {name: listed.get(member) for name, member in LISTED_MOMENTS.items()}
    moments["creation_date"] = moments["creation_date"] or listed.get("ImportedAt")
    for name, moment in moments.items():
        if moment is not None:
            getattr(body, name).CopyFrom(timestamp(moment))
    arn = str(listed["CertificateArn"])
    draft = Draft(native_id=arn, arn=arn, body=body)
    draft.take(described, DESCRIBED_FIELDS, _fill_description)
    return draft


def _fill_description(body: AcmCertificate, response: Response | None) -> None:
    told: Any = (response or {}).get("Certificate", {})
    body.alternative_names.extend(sorted(told.get("SubjectAlternativeNames", ())))
    body.used_by.extend(sorted(told.get("InUseBy", ())))
    body.in_use = bool(body.used_by)
    options = told.get("Options", {})
    texts = {
        "renewal_status": told.get("RenewalSummary", {}).get("RenewalStatus"),
        "issuer": told.get("Issuer"),
        "signature_algorithm": told.get("SignatureAlgorithm"),
        "validation_method": options.get("ValidationMethod") or _validated_by(told),
        "certificate_authority": told.get("CertificateAuthorityArn"),
    }
    for name, text in texts.items():
        if text:
            setattr(body, name, text)
    body.auto_renews = body.renewal_eligibility == ELIGIBLE and body.renewal_status not in STUCK
    if preference := options.get("CertificateTransparencyLoggingPreference"):
        body.transparency_logging = preference == "ENABLED"


def _validated_by(told: Any) -> str:
    """Give how the first name was validated that tells it."""
    options = told.get("DomainValidationOptions", ())
    return next(
        (str(each["ValidationMethod"]) for each in options if "ValidationMethod" in each), ""
    )


def _fill_tags(body: AcmCertificate, response: Response | None) -> None:
    body.tags.update(tag_map((response or {}).get("Tags", ())))


COLLECTOR = Collector(
    "acm_certificates",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
