"""OSCAL System Security Plans, versions 1.0.0 to 1.2.x, drawn into claims.

A document that is broken is refused whole; a part that is merely odd becomes an ImportIssue and,
where it makes a claim impossible to judge, that claim's ``invalid_reason``.
Source: NIST OSCAL system-security-plan model 1.0 to 1.2, FedRAMP OSCAL props.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance import controls
from services.inventory.compliance.document import Node, at, read_document
from services.inventory.compliance.passages import Passages
from services.inventory.compliance.statements import (
    claim_state,
    effective_parameters,
    originates_elsewhere,
    planned_completion,
    set_parameters,
)
from services.inventory.errors import SspInvalid

ROOT = "system-security-plan"
MAX_ISSUES = 1000
MAX_COMPONENTS = 10_000
_MODELS = (
    ROOT,
    "catalog",
    "profile",
    "component-definition",
    "mapping-collection",
    "assessment-plan",
    "assessment-results",
    "plan-of-action-and-milestones",
)
_READ = ("metadata", "import-profile", "system-implementation", "control-implementation")
_VERSION = re.compile(r"^\s*v?1\.[0-2](?:[.\-].*)?\s*$")
_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@dataclass
class IssueList:
    """Notes of one import, at most 1,000; the last says how many more there were."""

    found: list[ssp_pb2.ImportIssue] = field(default_factory=list)
    dropped: int = 0

    def note(self, pointer: str, problem: str) -> None:
        if len(self.found) < MAX_ISSUES - 1:
            issue = ssp_pb2.ImportIssue(pointer=pointer[:1024], problem=problem[:1024])
            self.found.append(issue)
        else:
            self.dropped += 1

    def all(self) -> list[ssp_pb2.ImportIssue]:
        more = ssp_pb2.ImportIssue(problem=f"{self.dropped} more parts are odd")
        return [*self.found, more] if self.dropped else self.found


@dataclass(frozen=True)
class Plan:
    """A document that was read."""

    ssp: ssp_pb2.Ssp
    claims: tuple[ssp_pb2.Claim, ...]
    passages: tuple[ssp_pb2.Passage, ...] = ()


@dataclass(frozen=True)
class _Surroundings:
    """What the claims of one document share."""

    name: str
    baseline: ssp_pb2.Baseline.ValueType
    components: Mapping[str, ssp_pb2.SspComponent]
    parameters: Mapping[str, str]
    issues: IssueList
    claim_ids: set[str] = field(default_factory=set)


def read_plan(
    name: str,
    content: bytes,
    *,
    baseline: ssp_pb2.Baseline.ValueType = ssp_pb2.BASELINE_UNSPECIFIED,
    import_time: datetime,
) -> Plan:
    """Read a plan in JSON as the resource ``name`` and its claims.

    Raises SspInvalid, with the JSON pointer, if the document is no plan that can be read.
    """
    digest = hashlib.sha256(content).hexdigest()
    ssp = ssp_pb2.Ssp(
        name=name,
        baseline=baseline,
        document_sha256=digest,
        format=ssp_pb2.SSP_FORMAT_OSCAL_JSON,
    )
    ssp.create_time.FromDatetime(import_time)
    return plan_in(read_document(content), ssp)


def plan_in(document: Node, known: ssp_pb2.Ssp) -> Plan:
    """Read the plan of an OSCAL document.

    Args:
        known: What is known of it without reading: its name, format, digest, time of import, and
            the baseline, if one was given.

    Raises SspInvalid, with the JSON pointer, if the document is no plan that can be read.
    """
    name, baseline = known.name, known.baseline
    plan = model_root(document, ROOT)
    issues = IssueList()
    metadata = plan.required_child("metadata")
    version = require_version(metadata)
    profile = plan.required_child("import-profile")
    href = profile.text("href", required=True)
    baseline = baseline or _profile_baseline(plan, href)
    if not baseline:
        problem = f"{href!r} is no known baseline; claims are held against SP 800-53 rev 5 alone"
        issues.note(at(profile.pointer, "href"), problem)
    components = _components(plan.required_child("system-implementation"), issues)
    implementation = plan.required_child("control-implementation")
    parameters = set_parameters(implementation, issues)
    around = _Surroundings(name, baseline, components, parameters, issues)
    claims = tuple(_claims(implementation, around))
    ssp = ssp_pb2.Ssp(
        title=metadata.text("title", required=True)[:1024],
        version=metadata.text("version")[:256],
        oscal_version=version[:32],
        profile=href[:2048],
        controls=len({claim.control_id for claim in claims}),
        claims=len(claims),
        components=components.values(),
        issues=issues.all(),
    )
    ssp.MergeFrom(known)
    ssp.baseline = baseline
    return Plan(ssp, claims, _passages(plan, ssp, claims))


def _passages(
    plan: Node, ssp: ssp_pb2.Ssp, claims: Sequence[ssp_pb2.Claim]
) -> tuple[ssp_pb2.Passage, ...]:
    """Tell of every claim, of what is odd, and of what was not looked at."""
    passages, kind = Passages(ssp.name), ssp_pb2.Passage
    for issue in ssp.issues:
        passages.add(issue.pointer, "", kind.OUTCOME_NOT_UNDERSTOOD, issue.problem)
    for claim in claims:
        text, control = claim.description, claim.control_id
        passages.add(claim.source, text, kind.OUTCOME_CLAIM, "", control, claim.name)
    for key in plan.value:
        if key not in _READ:
            passages.add(at(plan.pointer, key), "", kind.OUTCOME_NO_CLAIM, "is not looked at")
    return tuple(passages.all())


def model_root(document: Node, wanted: str) -> Node:
    """Give the object of an OSCAL model; SspInvalid says which other one it is."""
    if wanted in document.value:
        return document.required_child(wanted)
    for model in _MODELS:
        if model in document.value:
            raise SspInvalid(at("", model), f"the document's OSCAL model is {model}, not {wanted}")
    found = next(iter(document.value), None)
    seen = f"; its first key is {found[:64]!r}" if found is not None else "; it is empty"
    raise SspInvalid("", f"no {wanted} stands at its root{seen}")


def require_version(metadata: Node) -> str:
    """Give the version of OSCAL that a document is written in; SspInvalid if it is not read."""
    version = metadata.text("oscal-version", required=True)
    if not _VERSION.match(version):
        metadata.refuse(f"{version!r} is not read; OSCAL 1.0 to 1.2 are", "oscal-version")
    return version


def _profile_baseline(plan: Node, href: str) -> ssp_pb2.Baseline.ValueType:
    if not href.startswith("#"):
        return controls.recognise_baseline(href)
    back_matter = plan.child("back-matter")
    for resource in back_matter.children("resources") if back_matter else ():
        if resource.text("uuid").lower() != href[1:].lower():
            continue
        places = [link.text("href") for link in resource.children("rlinks")]
        for text in (*places, resource.text("title"), resource.text("description")):
            if found := controls.recognise_baseline(text):
                return found
    return ssp_pb2.BASELINE_UNSPECIFIED


def _components(system: Node, issues: IssueList) -> dict[str, ssp_pb2.SspComponent]:
    found: dict[str, ssp_pb2.SspComponent] = {}
    for component in system.children("components", required=True):
        uuid = component.text("uuid", required=True).strip().lower()
        if len(found) == MAX_COMPONENTS:
            component.refuse(f"more than {MAX_COMPONENTS:,} components")
        if uuid in found:
            issues.note(at(component.pointer, "uuid"), f"component {uuid} stands there twice")
        if not _UUID.match(uuid):
            issues.note(at(component.pointer, "uuid"), f"{uuid[:64]!r} is no UUID")
        kind = component.text("type")
        props = {prop.text("name") for prop in component.children("props")}
        found[uuid] = ssp_pb2.SspComponent(
            uuid=uuid[:64],
            type=kind[:64],
            title=component.text("title").strip()[:1024],
            leveraged=kind == "leveraged-system" or "leveraged-authorization-uuid" in props,
        )
    return found


def _claims(implementation: Node, around: _Surroundings) -> Iterator[ssp_pb2.Claim]:
    seen: set[str] = set()
    for requirement in implementation.children("implemented-requirements", required=True):
        written = requirement.text("control-id", required=True)
        control = controls.control_id(written)
        if control in seen:
            problem = f"{control} has several implemented requirements; each counts"
            around.issues.note(at(requirement.pointer, "control-id"), problem)
        if control is not None:
            seen.add(control)
        yield from _requirement_claims(requirement, control or written.strip()[:32], around)


def _requirement_claims(
    requirement: Node, control: str, around: _Surroundings
) -> Iterator[ssp_pb2.Claim]:
    made = [_Maker(around, control, "", [part, requirement]) for part in _parts(requirement)]
    bare: list[_Maker] = []
    for statement in requirement.children("statements"):
        statement_id = _statement_id(statement, control, around.issues)
        parts = [[part, statement, requirement] for part in _parts(statement)]
        made += [_Maker(around, control, statement_id, nearest) for nearest in parts]
        if not parts:
            bare.append(_Maker(around, control, statement_id, [statement, requirement]))
    if not made:
        bare = [_Maker(around, control, "", [requirement])]
    for maker in (*made, *bare):
        yield maker.claim()


def _parts(node: Node) -> list[Node]:
    return list(node.children("by-components"))


def _statement_id(statement: Node, control: str, issues: IssueList) -> str:
    written = statement.text("statement-id", required=True)
    parsed = controls.statement_id(written)
    place = at(statement.pointer, "statement-id")
    if parsed is None:
        issues.note(place, f"{written[:64]!r} is no statement id of SP 800-53")
        return written[:128]
    if parsed[0] != control:
        issues.note(place, f"{written[:64]!r} belongs to {parsed[0]}, not to {control}")
    return parsed[1][:128]


@dataclass(frozen=True)
class _Maker:
    """One claim in the making; ``nearest`` holds its parts of the document, nearest first."""

    around: _Surroundings
    control: str
    statement: str
    nearest: Sequence[Node]

    @property
    def _part(self) -> Node | None:
        """The by-component that makes the claim, if one does."""
        return self.nearest[0] if "/by-components/" in self.nearest[0].pointer else None

    def claim(self) -> ssp_pb2.Claim:
        issues, node = self.around.issues, self.nearest[0]
        uuid = node.text("uuid").strip().lower()[:64]
        component = self._component()
        settings = [set_parameters(each, issues) for each in reversed(self.nearest)]
        claim = ssp_pb2.Claim(
            name=f"{self.around.name}/claims/{self._id(uuid)}",
            control_id=self.control,
            statement_id=self.statement,
            implementation_statement_uuid=uuid,
            component_uuid=self._component_uuid()[:64],
            component_title=component.title if component else "",
            state=claim_state(self.nearest, issues),
            parameters=effective_parameters(
                [self._shared_parameters(), *settings], node.pointer, issues
            ),
            inherited=self._inherited(component),
            description=(node.text("description") or node.text("remarks"))[:4096],
            invalid_reason=self._invalid_reason()[:1024],
            source=node.pointer[:1024],
        )
        due = planned_completion(self.nearest, issues)
        if due is not None:
            claim.planned_completion_time.FromDatetime(due)
        if claim.invalid_reason:
            issues.note(node.pointer, claim.invalid_reason)
        return claim

    def _id(self, uuid: str) -> str:
        """Give an id that importing the same document again gives too."""
        taken = self.around.claim_ids
        place = self.nearest[0].pointer
        if not _UUID.match(uuid) or uuid in taken:
            problem = "stands there twice" if uuid in taken else "is missing or no UUID"
            self.around.issues.note(at(place, "uuid"), f"the uuid {problem}")
            uuid = "x" + hashlib.sha256(place.encode()).hexdigest()[:32]
        taken.add(uuid)
        return uuid

    def _component_uuid(self) -> str:
        part = self._part
        return part.text("component-uuid", required=True).strip().lower() if part else ""

    def _component(self) -> ssp_pb2.SspComponent | None:
        return self.around.components.get(self._component_uuid())

    def _shared_parameters(self) -> dict[str, str]:
        """Give the whole system's settings that belong to this control or its kin."""
        # Every claim would otherwise repeat the hundreds of settings of a FedRAMP plan.
        family, _, number = self.control.partition("-")
        base = number.partition(".")[0]
        kin = re.compile(rf"^{re.escape(family)}-0*{re.escape(base)}(\.[0-9]+)?_")
        shared = self.around.parameters.items()
        return {parameter: value for parameter, value in shared if kin.match(parameter)}

    def _inherited(self, component: ssp_pb2.SspComponent | None) -> bool:
        if component is not None and component.leveraged:
            return True
        part = self._part
        # Who also satisfies responsibilities of its own makes a claim of its own.
        if (
            part is not None
            and any(part.children("inherited"))
            and not any(part.children("satisfied"))
        ):
            return True
        return originates_elsewhere(self.nearest)

    def _invalid_reason(self) -> str:
        problem = controls.problem_of(self.control, self.around.baseline)
        if problem:
            return problem
        uuid = self._component_uuid()
        if self._part is not None and uuid not in self.around.components:
            return f"component {uuid[:64]} is not in the plan"
        return ""
