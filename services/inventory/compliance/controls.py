"""The controls of NIST SP 800-53 rev 5, the published baselines, and how documents write their ids.

Facts of ``data/controls.csv``: NIST SP 800-53 rev 5, NIST SP 800-53B and the FedRAMP rev 5
profiles (all public domain).
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from secmesh.inventory.v1 import ssp_pb2

_CONTROL = re.compile(
    r"^\s*([a-z]{2})-0*([1-9][0-9]?)\s*(?:\(\s*0*([1-9][0-9]?)\s*\)|\.0*([1-9][0-9]?))?\s*$",
    re.IGNORECASE,
)
_STATEMENT = re.compile(r"^\s*(.+?)_(?:smt|stmt)(?:\.(.+?))?\s*$", re.IGNORECASE)
_PARAMETER = re.compile(r"^\s*([a-z]{2}-[0-9.]+)_odp(?:\.0*([0-9]+))?\s*$", re.IGNORECASE)

_NIST = {
    "L": ssp_pb2.BASELINE_NIST_LOW,
    "M": ssp_pb2.BASELINE_NIST_MODERATE,
    "H": ssp_pb2.BASELINE_NIST_HIGH,
    "P": ssp_pb2.BASELINE_NIST_PRIVACY,
}
_FEDRAMP = {
    "Li": ssp_pb2.BASELINE_FEDRAMP_LI_SAAS,
    "L": ssp_pb2.BASELINE_FEDRAMP_LOW,
    "M": ssp_pb2.BASELINE_FEDRAMP_MODERATE,
    "H": ssp_pb2.BASELINE_FEDRAMP_HIGH,
}
_MARKS = {"li saas": "Li", "low": "L", "moderate": "M", "high": "H", "privacy": "P"}
_TITLES = {
    ssp_pb2.BASELINE_UNSPECIFIED: "no known baseline",
    ssp_pb2.BASELINE_NIST_LOW: "NIST SP 800-53B Low",
    ssp_pb2.BASELINE_NIST_MODERATE: "NIST SP 800-53B Moderate",
    ssp_pb2.BASELINE_NIST_HIGH: "NIST SP 800-53B High",
    ssp_pb2.BASELINE_NIST_PRIVACY: "NIST SP 800-53B Privacy",
    ssp_pb2.BASELINE_FEDRAMP_LI_SAAS: "FedRAMP rev 5 LI-SaaS",
    ssp_pb2.BASELINE_FEDRAMP_LOW: "FedRAMP rev 5 Low",
    ssp_pb2.BASELINE_FEDRAMP_MODERATE: "FedRAMP rev 5 Moderate",
    ssp_pb2.BASELINE_FEDRAMP_HIGH: "FedRAMP rev 5 High",
}


@dataclass(frozen=True)
class Control:
    """One control or enhancement."""

    id: str
    """As OSCAL writes it, such as ``ac-2.3``."""
    title: str
    withdrawn: bool
    baselines: frozenset[ssp_pb2.Baseline.ValueType]
    parameters: tuple[str, ...]
    """OSCAL ids of its organization-defined parameters."""

    @property
    def label(self) -> str:
        """As people write it, such as ``AC-2(3)``."""
        base, _, enhancement = self.id.partition(".")
        return f"{base.upper()}({enhancement})" if enhancement else base.upper()


def load_controls() -> Mapping[str, Control]:
    """Give every control by id, in the order of the publication."""
    return _controls()


@cache
def load_parameters() -> frozenset[str]:
    """Give the OSCAL ids of all organization-defined parameters."""
    return frozenset(each for control in _controls().values() for each in control.parameters)


@cache
def _controls() -> Mapping[str, Control]:
    source = resources.files(__package__) / "data" / "controls.csv"
    rows = csv.DictReader(io.StringIO(source.read_text(encoding="utf-8")))
    return {
        row["control_id"]: Control(
            id=row["control_id"],
            title=row["title"],
            withdrawn=row["withdrawn"] == "1",
            baselines=frozenset(
                [_NIST[mark] for mark in row["nist"].split()]
                + [_FEDRAMP[mark] for mark in row["fedramp"].split()]
            ),
            parameters=tuple(row["parameters"].split()),
        )
        for row in rows
    }


def baseline_controls(baseline: ssp_pb2.Baseline.ValueType) -> tuple[str, ...]:
    """Give the ids of a baseline's controls, in the order of the publication."""
    return tuple(
        control.id for control in load_controls().values() if baseline in control.baselines
    )


def baseline_title(baseline: ssp_pb2.Baseline.ValueType) -> str:
    """Give the name that people know a baseline by."""
    return _TITLES[baseline]


def problem_of(control: str, baseline: ssp_pb2.Baseline.ValueType) -> str:
    """Say why a claim of a control, by its OSCAL id, cannot be judged; empty if it can."""
    known = load_controls().get(control)
    if known is None:
        return f"{control} is no control of SP 800-53 rev 5"
    if known.withdrawn:
        return f"{known.label} was withdrawn from SP 800-53 rev 5"
    if baseline and baseline not in known.baselines:
        return f"{known.label} is not in {baseline_title(baseline)}"
    return ""


def control_id(text: str) -> str | None:
    """Give the OSCAL id of a control written in any usual way, or None.

    ``AC-2(3)``, ``AC-02 (03)``, ``ac-02.03`` and ``ac-2.3`` are all ``ac-2.3``.
    """
    match = _CONTROL.match(text)
    if match is None:
        return None
    family, number, in_brackets, after_dot = match.groups()
    enhancement = in_brackets or after_dot
    base = f"{family.lower()}-{number}"
    return f"{base}.{enhancement}" if enhancement else base


def statement_id(text: str) -> tuple[str, str] | None:
    """Give (control, statement) of a statement id, or None if it is none.

    ``ac-2_stmt.a`` is ``ac-2_smt.a``; the statement of the whole control (``ac-2_smt``) is ``""``.
    """
    match = _STATEMENT.match(text)
    control = control_id(match[1]) if match else None
    if match is None or control is None:
        return None
    return control, f"{control}_smt.{match[2].lower()}" if match[2] else ""


def parameter_id(text: str) -> str:
    """Give a parameter id with both numbers padded as NIST writes them.

    ``ac-2.3_odp.2`` is ``ac-02.03_odp.02``; older ids such as ``ac-2.3_prm_2`` stay as they are.
    """
    match = _PARAMETER.match(text)
    control = control_id(match[1]) if match else None
    if match is None or control is None:
        return text.strip()
    family, _, numbers = control.partition("-")
    padded = ".".join(number.zfill(2) for number in numbers.split("."))
    suffix = f".{match[2].zfill(2)}" if match[2] else ""
    return f"{family}-{padded}_odp{suffix}"


def recognise_baseline(reference: str) -> ssp_pb2.Baseline.ValueType:
    """Give the baseline that a profile's address or title speaks of; unspecified if none is known.

    Only revision 5 is known: an address that names revision 4 is no baseline here.
    """
    text = re.sub(r"[^a-z0-9]+", " ", reference.lower()).strip()
    if re.search(r"\brev(ision)? ?4\b", text) or "800 53r4" in text:
        return ssp_pb2.BASELINE_UNSPECIFIED
    revision_5 = re.search(r"\brev(ision)? ?5\b|\b800 53r5\b|\b800 53b\b", text)
    if revision_5 is None:
        return ssp_pb2.BASELINE_UNSPECIFIED
    # The last word wins: `.../fedramp/high/..._rev5_MODERATE-baseline` is Moderate.
    levels = re.findall(r"\b(li saas|low|moderate|high|privacy)\b", text)
    level = levels[-1] if levels else ""
    if "fedramp" in text:
        return _FEDRAMP.get(_MARKS.get(level, ""), ssp_pb2.BASELINE_UNSPECIFIED)
    if "800 53" in text:
        return _NIST.get(_MARKS.get(level, ""), ssp_pb2.BASELINE_UNSPECIFIED)
    return ssp_pb2.BASELINE_UNSPECIFIED
