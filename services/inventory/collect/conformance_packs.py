"""Conformance packs of AWS Config: how they stand and what their rules found."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.config_pb2 import ConformancePack
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

LIST = "config:DescribeConformancePacks"
STATUS = "config:DescribeConformancePackStatus"
SUMMARY = "config:GetConformancePackComplianceSummary"
SCORES = "config:ListConformancePackComplianceScores"
RULES = "config:DescribeConformancePackCompliance"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, STATUS, SUMMARY, SCORES, RULES))
PAGE = 20
RULE_PAGE = 1000
NAMES = 5
"""Packs that one summary tells of."""
FIELDS = frozenset(ConformancePack.DESCRIPTOR.fields_by_name)
STATUS_FIELDS = ("status", "status_reason", "updated")
FRAMEWORKS = {"nist80053": "NIST 800-53", "fedramp": "FedRAMP"}
"""By what a name says of it, in lower case and without what joins its words."""
INSUFFICIENT_DATA = "INSUFFICIENT_DATA"

Found = Mapping[str, Response] | Unread
"""By the pack's name."""


def collect(reader: Reader) -> Collected:
    """Read the packs of one region."""
    packs = reader.items(LIST, "ConformancePackDetails", page_size=PAGE, listing=True)
    if isinstance(packs, Unread):
        return Collected([], packs)
    if not packs:
        return Collected([])
    status = _by_name(reader.items(STATUS, "ConformancePackStatusDetails", page_size=PAGE))
    scores = _by_name(reader.items(SCORES, "ConformancePackComplianceScores", page_size=PAGE))
    drafts = [pack_draft(pack) for pack in packs]
    summary = _summary(reader, [draft.body.pack_name for draft in drafts])
    rules = reader.fan_out(lambda draft: _rules(reader, draft.body.pack_name), drafts)
    for draft, told in zip(drafts, rules, strict=True):
        name = draft.body.pack_name
        _fill(draft, status, STATUS_FIELDS, fill_status)
        _fill(draft, scores, ("compliance_score",), fill_score)
        _fill(draft, summary[name], ("compliance_status",), fill_summary)
        fill_rules(draft, told)
    return Collected(drafts)


def _by_name(found: Iterable[Response] | Unread) -> Found:
    if isinstance(found, Unread):
        return found
    return {str(each["ConformancePackName"]): each for each in found}


def _summary(reader: Reader, names: Sequence[str]) -> dict[str, Found]:
    """Give for each pack the answer that tells of it: one call tells of a few."""

    def read(some: Sequence[str]) -> Found:
        return _by_name(
            reader.items(
                SUMMARY, "ConformancePackComplianceSummaryList", ConformancePackNames=list(some)
            )
        )

    batches = list(_batches(names))
    answers = reader.fan_out(read, batches)
    return {name: answer for batch, answer in zip(batches, answers, strict=True) for name in batch}


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(names), NAMES):
        yield names[first : first + NAMES]


def _rules(reader: Reader, name: str) -> list[ConformancePack.Rule] | Unread:
    return reader.picked(
        RULES,
        "ConformancePackRuleComplianceList",
        _rule,
        page_size=RULE_PAGE,
        resource=name,
        ConformancePackName=name,
    )


def _rule(told: Response) -> ConformancePack.Rule:
    return ConformancePack.Rule(
        rule_name=told["ConfigRuleName"], compliance_type=told.get("ComplianceType", "")
    )


def pack_draft(pack: Response) -> Draft[ConformancePack]:
    """Map one pack as it is listed."""
    document = pack.get("TemplateSSMDocumentDetails", {}).get("DocumentName")
    source = pack.get("Source", {}).get("SourceIdentifier", "")
    body = ConformancePack(
        pack_name=pack["ConformancePackName"],
        pack_id=pack.get("ConformancePackId", ""),
        framework=framework_of((str(pack["ConformancePackName"]), document or "", source)),
        template_document=document,
        input_parameters={
            str(each["ParameterName"]): str(each.get("ParameterValue", ""))
            for each in pack.get("ConformancePackInputParameters", ())
        },
        delivery_bucket=pack.get("DeliveryS3Bucket") or None,
        created_by=pack.get("CreatedBy") or None,
    )
    return Draft(native_id=body.pack_name, arn=str(pack["ConformancePackArn"]), body=body)


def framework_of(names: Iterable[str]) -> str | None:
    """Give the framework that one of the names speaks of."""
    for name in names:
        plain = "".join(filter(str.isalnum, name)).lower()
        for mark, framework in FRAMEWORKS.items():
            if mark in plain:
                return framework
    return None


def _fill(
    draft: Draft[ConformancePack],
    found: Found,
    fields: tuple[str, ...],
    fill: Callable[[ConformancePack, Response], None],
) -> None:
    """Fill fields from what is told of the pack, or mark them."""
    if isinstance(found, Unread):
        draft.miss(found, *fields)
    else:
        fill(draft.body, found.get(draft.body.pack_name, {}))


def fill_status(body: ConformancePack, told: Response) -> None:
    """Fill how the pack stands."""
    body.status = told.get("ConformancePackState", "")
    if reason := told.get("ConformancePackStatusReason"):
        body.status_reason = reason
    if updated := told.get("LastUpdateCompletedTime"):
        body.updated.CopyFrom(timestamp(updated))


def fill_score(body: ConformancePack, told: Response) -> None:
    """Fill the score; AWS writes it as text, and in words if it has none."""
    score = told.get("Score") or INSUFFICIENT_DATA
    if score != INSUFFICIENT_DATA:
        body.compliance_score = float(score)


def fill_summary(body: ConformancePack, told: Response) -> None:
    """Fill what the rules found together."""
    body.compliance_status = told.get("ConformancePackComplianceStatus", INSUFFICIENT_DATA)


def fill_rules(draft: Draft[ConformancePack], found: list[ConformancePack.Rule] | Unread) -> None:
    """Fill the rules, in the order of their names."""
    if isinstance(found, Unread):
        draft.miss(found, "rules")
    else:
        draft.body.rules.extend(sorted(found, key=lambda rule: rule.rule_name))


COLLECTOR = Collector(
    "config_conformance_packs",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
