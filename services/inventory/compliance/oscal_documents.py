"""An assessment as OSCAL assessment results and as a plan of action and milestones (POA&M).

Exporting twice gives the same document: identifiers are made of names, moments are those of the
assessment. Risks and POA&M items keep their UUIDs from one assessment of a plan to the next.
Source: NIST OSCAL 1.1.2, assessment-results and plan-of-action-and-milestones models.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC

from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.controls import (
    baseline_controls,
    baseline_title,
    load_controls,
)
from services.inventory.compliance.deadlines import plan_deadlines
from services.inventory.compliance.oscal_findings import (
    FindingWriter,
    decided,
    finding_id,
    related_observations,
    severity_word,
    weaknesses,
)
from services.inventory.compliance.oscal_observations import Observer, verdict_props
from services.inventory.compliance.oscal_parts import (
    NAMESPACE,
    OSCAL_VERSION,
    Part,
    claim_title,
    identifier,
    line,
    markup,
    moment,
    prop,
    without_empty,
)
from services.inventory.compliance.oscal_subjects import ORIGINS, Subjects, accounts, definitions
from services.inventory.compliance.report import LISTED, MAX_BYTES, Report, verdict_word
from services.inventory.compliance.uncovered import unseen
from services.inventory.errors import NothingToPlan


def assessment_results(report: Report) -> bytes:
    """Write OSCAL assessment results: an observation a verdict, findings and risks."""
    return _fitting(report, _results_document)


def poam(report: Report) -> bytes:
    """Write an OSCAL POA&M: an item with risk and deadline for every weakness.

    Raises NothingToPlan if there is none: OSCAL knows no POA&M without items.
    """
    if not weaknesses(report.verdicts):
        raise NothingToPlan(report.assessment.name)
    return _fitting(report, _poam_document)


def _fitting(report: Report, write: Callable[[Report, int], Part]) -> bytes:
    """List as many outcomes of each check as let the document fit into one message."""
    for listed in LISTED:
        written = json.dumps(write(report, listed), indent=1, ensure_ascii=False).encode()
        if len(written) <= MAX_BYTES:
            break
    return written


def _results_document(report: Report, listed: int) -> Part:
    assessment = report.assessment
    subjects = Subjects()
    observer = Observer(assessment, subjects, listed)
    writer = FindingWriter(assessment, plan_deadlines(report.claims))
    observations = [observer.observation(verdict) for verdict in report.verdicts]
    when = moment(observer.weighed)
    result = {
        "uuid": identifier("result", assessment.name),
        "title": _title(report, "claims and evidence"),
        "description": (
            "Every claim of the plan weighed against the resources collected last; "
            "each observation carries its verdict."
        ),
        "start": when,
        "end": when,
        "props": [*_counts(assessment), prop("outcomes-listed", listed)],
        "local-definitions": definitions(subjects),
        "reviewed-controls": _reviewed(report),
        "observations": observations,
        "risks": [writer.risk(each) for each in weaknesses(report.verdicts)],
        "findings": [writer.finding(each) for each in decided(report.verdicts)],
        "remarks": _remarks(assessment),
    }
    document = {
        "uuid": identifier("assessment-results", assessment.name),
        "metadata": _metadata(report, "assessment results"),
        "import-ap": {"href": f"#{_resource_id(assessment, 'assessment-plan')}"},
        "results": [without_empty(result)],
        "back-matter": {"resources": [_plan_resource(report), _method_resource(assessment)]},
    }
    return {"assessment-results": document}


def _poam_document(report: Report, listed: int) -> Part:
    assessment = report.assessment
    found = weaknesses(report.verdicts)
    subjects = Subjects()
    observer = Observer(assessment, subjects, listed)
    writer = FindingWriter(assessment, plan_deadlines(report.claims))
    observations = [observer.observation(verdict) for verdict in found]
    document = {
        "uuid": identifier("plan-of-action-and-milestones", assessment.name),
        "metadata": _metadata(report, "plan of action and milestones"),
        "import-ssp": {"href": f"#{_resource_id(assessment, 'plan')}"},
        "system-id": {"identifier-type": NAMESPACE, "id": line(assessment.ssp)},
        "local-definitions": definitions(subjects),
        "observations": observations,
        "risks": [writer.risk(verdict) for verdict in found],
        "findings": [writer.finding(verdict) for verdict in found],
        "poam-items": [_item(writer, verdict) for verdict in found],
        "back-matter": {"resources": [_plan_resource(report)]},
    }
    return {"plan-of-action-and-milestones": document}


def _item(writer: FindingWriter, verdict: pb.ClaimVerdict) -> Part:
    deadline = moment(writer.deadline(verdict))
    return {
        "uuid": writer.lasting_id("poam-item", verdict),
        "title": claim_title(verdict),
        "description": markup(verdict.reason),
        "props": [
            *verdict_props(verdict),
            prop("severity", severity_word(verdict)),
            prop("deadline", deadline),
        ],
        "origins": ORIGINS,
        "related-findings": [{"finding-uuid": finding_id(verdict)}],
        "related-observations": related_observations(verdict),
        "related-risks": writer.related_risks(verdict),
    }


def _metadata(report: Report, what: str) -> Part:
    assessment = report.assessment
    return {
        "title": _title(report, what),
        "last-modified": moment(assessment.evaluate_time.ToDatetime(UTC)),
        "version": line(assessment.name.rpartition("/")[2]),
        "oscal-version": OSCAL_VERSION,
        "props": [
            prop("assessment", assessment.name),
            prop("baseline", baseline_title(assessment.baseline)),
            *accounts(assessment.cloud_account_ids),
            *_uncovered(assessment),
        ],
    }


def _uncovered(assessment: pb.Assessment) -> list[Part]:
    """Give a property for each account, and for the regions of one, that were no evidence."""
    accounts = (each.cloud_account_id for each in assessment.uncovered_accounts)
    regions = (
        f"{each.cloud_account_id}: {', '.join(each.regions)}"
        for each in assessment.uncovered_regions
    )
    return [
        *(prop("account-without-evidence", each) for each in accounts),
        *(prop("regions-without-evidence", each) for each in regions),
    ]


def _remarks(assessment: pb.Assessment) -> str:
    lines = (line for each in unseen(assessment) for line in (each.told, *each.lines))
    return "\n\n".join(map(markup, lines))


def _title(report: Report, what: str) -> str:
    title = report.plan.title if report.plan else report.assessment.ssp
    return f"{markup(title)}: {what}"


def _counts(assessment: pb.Assessment) -> list[Part]:
    props = [prop("controls", assessment.controls), prop("claims", assessment.claims)]
    listed: Sequence[tuple[str, Iterable[pb.VerdictCount]]] = (
        ("controls-of-verdict", assessment.control_counts),
        ("claims-of-verdict", assessment.claim_counts),
    )
    for name, counts in listed:
        props += [
            prop(name, each.count, **{"class": verdict_word(each.verdict)}) for each in counts
        ]
    return props


def _reviewed(report: Report) -> Part:
    """Select the baseline's controls; without a known baseline, those that the plan names."""
    known = load_controls()
    judged = {verdict.control_id for verdict in report.verdicts}
    chosen = {*baseline_controls(report.assessment.baseline)} or judged
    selected = [{"control-id": each} for each in known if each in chosen]
    return {
        "description": baseline_title(report.assessment.baseline),
        "control-selections": [
            {"include-controls": selected} if selected else {"include-all": {}},
        ],
    }


def _resource_id(assessment: pb.Assessment, what: str) -> str:
    return identifier("resource", assessment.name, what)


def _plan_resource(report: Report) -> Part:
    """Describe the plan that was judged."""
    assessment, plan = report.assessment, report.plan
    props = [prop("ssp", assessment.ssp)]
    if plan is not None:
        props += [
            prop("version", plan.version),
            prop("oscal-version", plan.oscal_version),
            prop("sha256", plan.document_sha256),
        ]
    return {
        "uuid": _resource_id(assessment, "plan"),
        "title": _title(report, "system security plan"),
        "description": "The System Security Plan that was judged, by its name in secmesh.",
        "props": props,
    }


def _method_resource(assessment: pb.Assessment) -> Part:
    """Stand in for an assessment plan, which an automated assessment has none of."""
    return {
        "uuid": _resource_id(assessment, "assessment-plan"),
        "title": "Automated assessment",
        "description": (
            "Every check that is bound to a control of the plan, over every account named, with "
            "the thresholds of the plan's own parameters."
        ),
        "props": accounts(assessment.cloud_account_ids) or [prop("assessment", assessment.name)],
    }
