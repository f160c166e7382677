"""From what was read of a document to a plan, its claims and its passages."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance import controls
from services.inventory.compliance.documents.blocks import Extract
from services.inventory.compliance.documents.drafts import Draft, Entry, entries_to_issues
from services.inventory.compliance.documents.reading import Reader
from services.inventory.compliance.passages import Passages
from services.inventory.compliance.ssp import MAX_COMPONENTS, IssueList, Plan
from services.inventory.errors import SspInvalid

MAX_CLAIMS = 50_000
_NOT_UNDERSTOOD = ssp_pb2.Passage.OUTCOME_NOT_UNDERSTOOD
_CLAIM = ssp_pb2.Passage.OUTCOME_CLAIM


@dataclass(frozen=True)
class Origin:
    """Where a plan comes from and what is asked of it."""

    name: str
    format: ssp_pb2.SspFormat.ValueType
    sha256: str
    file_title: str
    baseline: ssp_pb2.Baseline.ValueType
    import_time: datetime


def plan_of(extract: Extract, origin: Origin) -> Plan:
    """Make the plan; raises SspInvalid if the document makes no claim."""
    reading = Reader().read(extract.blocks)
    notes = [Entry(place, "", _NOT_UNDERSTOOD, problem) for place, problem in extract.notes]
    entries = [*notes, *reading.entries]
    if not reading.drafts:
        raise SspInvalid("", _nothing(reading.entries))
    if len(reading.drafts) > MAX_CLAIMS:
        raise SspInvalid(
            reading.drafts[MAX_CLAIMS].source, f"the document makes more than {MAX_CLAIMS:,} claims"
        )
    baseline = origin.baseline or reading.baseline
    if not baseline:
        problem = (
            "no baseline of revision 5 is named, by the document or the import; "
            "claims are held against SP 800-53 rev 5 alone"
        )
        entries.insert(0, Entry("", "", _NOT_UNDERSTOOD, problem))
    by_draft: dict[int, Entry] = {}
    for entry in entries:
        if entry.draft is not None:
            by_draft.setdefault(id(entry.draft), entry)
    claims = _claims(origin.name, reading.drafts, baseline, by_draft)
    issues = IssueList()
    for place, problem in entries_to_issues(entries):
        issues.note(place, problem)
    ssp = ssp_pb2.Ssp(
        name=origin.name,
        title=(extract.title or reading.title or origin.file_title)[:1024],
        baseline=baseline,
        document_sha256=origin.sha256,
        controls=len({claim.control_id for claim in claims}),
        claims=len(claims),
        components=_components(origin.name, claims),
        issues=issues.all(),
        format=origin.format,
    )
    ssp.create_time.FromDatetime(origin.import_time)
    names = {id(draft): claim.name for draft, claim in zip(reading.drafts, claims, strict=True)}
    return Plan(ssp, tuple(claims), tuple(_passages(origin.name, entries, names)))


def _nothing(entries: Sequence[Entry]) -> str:
    named = sorted({entry.control for entry in entries if entry.control})
    if named:
        return (
            f"no claim was found: {len(named)} controls are named, with neither status nor "
            f"statement, the first in {next(e.place for e in entries if e.control)}"
        )
    return (
        "no claim was found: there is no table with a column of control ids and one of "
        "status or statement, and no heading such as 'AC-2 Account Management'"
    )


def _claims(
    name: str,
    drafts: Sequence[Draft],
    baseline: ssp_pb2.Baseline.ValueType,
    entries: dict[int, Entry],
) -> list[ssp_pb2.Claim]:
    made: list[ssp_pb2.Claim] = []
    seen: Counter[tuple[str, str, str]] = Counter()
    spare = Entry("", "", _CLAIM)
    for draft in drafts:
        entry = entries.get(id(draft), spare)
        key = (draft.control, draft.part, draft.component)
        if seen[key]:
            entry.blame(f"{_label(draft)} stands there {seen[key] + 1} times; each counts")
        seen[key] += 1
        claim = _claim(name, draft, baseline, seen[key])
        if claim.invalid_reason:
            entry.blame(claim.invalid_reason)
        made.append(claim)
    return made


def _label(draft: Draft) -> str:
    known = controls.load_controls().get(draft.control)
    part = f" part {draft.part}" if draft.part else ""
    of = f" by {draft.component[:64]}" if draft.component else ""
    return f"{known.label if known else draft.control}{part}{of}"


def _claim(
    name: str, draft: Draft, baseline: ssp_pb2.Baseline.ValueType, ordinal: int
) -> ssp_pb2.Claim:
    # Not of its place: a line that moves is still the same claim.
    parts = "\0".join((draft.control, draft.part, draft.component, str(ordinal)))
    claim = ssp_pb2.Claim(
        name=f"{name}/claims/x{hashlib.sha256(parts.encode()).hexdigest()[:32]}",
        control_id=draft.control[:32],
        statement_id=draft.statement_id[:128],
        component_uuid=_component_uuid(name, draft.component) if draft.component else "",
        component_title=draft.component[:1024],
        state=draft.state,
        parameters=draft.parameters,
        inherited=bool(draft.inherited),
        description=draft.description[:4096],
        invalid_reason=controls.problem_of(draft.control, baseline)[:1024],
        source=draft.source[:1024],
    )
    if draft.due is not None:
        claim.planned_completion_time.FromDatetime(draft.due)
    return claim


def _component_uuid(name: str, title: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}#{title}"))


def _components(name: str, claims: Iterable[ssp_pb2.Claim]) -> list[ssp_pb2.SspComponent]:
    titles = dict.fromkeys(claim.component_title for claim in claims if claim.component_title)
    return [
        ssp_pb2.SspComponent(uuid=_component_uuid(name, title), title=title)
        for title in list(titles)[:MAX_COMPONENTS]
    ]


def _passages(name: str, entries: Iterable[Entry], claims: dict[int, str]) -> list[ssp_pb2.Passage]:
    passages = Passages(name)
    for entry in entries:
        claim = claims.get(id(entry.draft), "") if entry.draft is not None else ""
        passages.add(entry.place, entry.text, entry.outcome, entry.reason, entry.control, claim)
    return passages.all()
