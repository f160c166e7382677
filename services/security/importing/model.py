"""What a scanner's report says, whichever scanner it was: one neutral model for every format.

A reader yields these one by one. Nothing here knows a record, a table or a tenant.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct


class Word(StrEnum):
    """A word of the model. It hashes as the text that it is: Enum's own way takes ten times as
    long, and a report has many findings."""

    __hash__ = str.__hash__


class Severity(Word):
    """The five steps to which every format's own words are mapped, the least first."""

    INFO = "INFO"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class Subject(Word):
    """What a finding is about; it decides which records it becomes."""

    CODE = "CODE"
    WEB = "WEB"
    DEPENDENCY = "DEPENDENCY"
    SECRET = "SECRET"  # noqa: S105 - a kind of finding, not a secret
    CONFIGURATION = "CONFIGURATION"
    CLOUD = "CLOUD"
    HOST = "HOST"


class State(Word):
    """What the report itself says of a finding's state."""

    OPEN = "OPEN"
    PASSED = "PASSED"
    MANUAL = "MANUAL"
    SUPPRESSED = "SUPPRESSED"
    FALSE_POSITIVE = "FALSE_POSITIVE"
    RESOLVED = "RESOLVED"


@dataclass(frozen=True, slots=True)
class Tool:
    """The scanner of one run, and what it says of the run. Times are as the report has them."""

    name: str
    version: str = ""
    run: int = 0
    automation_id: str = ""
    target: str = ""
    revision: str = ""
    branch: str = ""
    start_time: str = ""
    end_time: str = ""
    serial_number: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, check or template of a scanner. `score` is CVSS-like, 0 to 10."""

    key: str
    name: str = ""
    description: str = ""
    help_text: str = ""
    help_uri: str = ""
    severity: Severity | None = None
    severity_said: str = ""
    score: float | None = None
    precision: str = ""
    cwe_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    run: int = 0


# Of findings and their locations a report has many: structs are made in a fraction of the time, and
# nobody looks through them for garbage. They hold nothing that could hold them.
class Location(Struct, gc=False):
    """A place in a file (lines and columns from 1), or the name of something that is no file."""

    path: str = ""
    start_line: int | None = None
    end_line: int | None = None
    start_column: int | None = None
    end_column: int | None = None
    snippet: str = ""
    logical_name: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """A piece of software: of an SBOM, or the one that a finding is about."""

    name: str
    version: str = ""
    purl: str = ""
    kind: str = ""
    reference: str = ""
    group: str = ""
    licenses: tuple[str, ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    fixed_version: str = ""


@dataclass(frozen=True, slots=True)
class Web:
    """The request that showed a weakness. Headers come without credentials."""

    url: str
    method: str = ""
    parameter: str = ""
    attack: str = ""
    evidence: str = ""
    other: str = ""
    request_header: str = ""
    response_header: str = ""
    instance_count: int | None = None
    wasc_id: int | None = None
    plugin_id: str = ""


@dataclass(frozen=True, slots=True)
class Asset:
    """A cloud resource and the account it lives in (OCSF `resources[]` and `cloud`)."""

    uid: str
    name: str = ""
    kind: str = ""
    service: str = ""
    region: str = ""
    provider: str = ""
    account_uid: str = ""
    account_name: str = ""
    organization_uid: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suppression:
    """SARIF 2.1.0 section 3.35: where a result was silenced, by what right, and why."""

    kind: str
    status: str = ""
    justification: str = ""


class Finding(Struct, gc=False):
    """One result. `index` counts within the report from 0, `pointer` is its place (RFC 6901)."""

    index: int
    pointer: str
    subject: Subject
    rule_key: str
    title: str
    severity: Severity
    severity_said: str
    message: str = ""
    message_template: str = ""
    confidence: str = ""
    score: float | None = None
    cvss_vector: str = ""
    epss: float | None = None
    cve_id: str = ""
    cwe_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    remediation: str = ""
    remediation_url: str = ""
    risk: str = ""
    locations: tuple[Location, ...] = ()
    code_flows: tuple[tuple[Location, ...], ...] = ()
    component: Component | None = None
    web: Web | None = None
    assets: tuple[Asset, ...] = ()
    fingerprints: tuple[tuple[str, str], ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    state: State = State.OPEN
    digest: bytes = b""
    """Of all that it was read from; empty where it is not told again by that."""
    occurrence: tuple[int, int] = (0, 0)
    """What it has in common with those equal to it, and how many of these come before it."""
    baseline: str = ""
    vex_state: str = ""
    vex_justification: str = ""
    requirements: tuple[tuple[str, tuple[str, ...]], ...] = ()
    categories: tuple[str, ...] = ()
    seen_time: str = ""
    run: int = 0
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class ThreatObject:
    """A STIX object. `body` is the object whole; relationships and sightings come as their own."""

    index: int
    pointer: str
    id: str
    type: str
    name: str
    body: dict[str, object] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ControlFinding:
    """An OSCAL finding: whether a control's objective or statement is satisfied, and by what."""

    index: int
    pointer: str
    uuid: str
    title: str
    description: str
    target: str
    target_type: str
    satisfied: bool
    reason: str = ""
    remarks: str = ""
    observations: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    collected_time: str = ""
    run: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """An OSCAL observation: what was seen, how, and on what."""

    uuid: str
    methods: tuple[str, ...] = ()
    description: str = ""
    subjects: tuple[str, ...] = ()
    collected_time: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """An OSCAL result, after its findings. `plan` and `document` are of the whole report."""

    uuid: str
    title: str = ""
    description: str = ""
    plan: str = ""
    document: str = ""
    control_ids: tuple[str, ...] = ()
    excluded_control_ids: tuple[str, ...] = ()
    observations: tuple[Observation, ...] = ()
    start_time: str = ""
    end_time: str = ""
    run: int = 0


class Same(Struct, gc=False):
    """A result that was recalled by its digest: it is known, and was not read."""

    run: int
    severity: Severity
    short: int
    """The first 64 bits of its fingerprint."""
    printed: bool
    """Whether it has fingerprints of its tool."""


Recall = Callable[[int, bytes], Same | None]
"""Gives what is known of a result of a run by its digest; None if it must be read."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A result that cannot be read; the others of the report still are.

    `index` counts as that of `Finding` does, so every result has one number whatever became of it.
    """

    index: int
    pointer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """The report cannot be read beyond here: it is cut, or no document of its format."""

    pointer: str
    reason: str
    offset: int = 0


Item = (
    Tool
    | Rule
    | Finding
    | Component
    | ThreatObject
    | ControlFinding
    | Assessment
    | Same
    | Rejected
    | Problem
)
