"""The mappings that come with the service: whole, of known things only, and honest in number."""

import re
from itertools import pairwise

import pytest

from mesh.contract.catalogue import load_catalogue
from mesh.errors import FieldInvalid
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.check_catalogue import load_checks
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.framework_posture import framework_posture
from services.inventory.compliance.frameworks import (
    FrameworkInvalid,
    bind_framework,
    framework_of,
    framework_of_baseline,
    load_frameworks,
)

CHECKS = load_checks(load_catalogue("secmesh.inventory.v1"))
HEAD = """
framework:
  id: made-up
  title: Made up
  publisher: Nobody
  version: "1"
  mapping: {source: secmesh, reference: none, date: "2026"}
framework_controls:
"""


def test_every_baseline_and_both_mappings_are_there() -> None:
    baselines = {each.message.baseline for each in load_frameworks().values()} - {0}
    assert baselines == set(ssp_pb2.Baseline.values()) - {0}
    counts = {
        name: (each.message.controls, each.message.mapped)
        for name, each in load_frameworks().items()
        if not each.message.baseline
    }
    assert counts == {"iso-27001-2022": (93, 93), "pci-dss-4.0": (205, counts["pci-dss-4.0"][1])}
    assert 100 < counts["pci-dss-4.0"][1] < 205
    assert list(load_frameworks()) == sorted(load_frameworks())


def test_annex_a_is_counted_as_published() -> None:
    ids = [each.control_id for each in framework_of("iso-27001-2022").controls]
    wanted = [
        f"A.{theme}.{number}"
        for theme, last in ((5, 37), (6, 8), (7, 14), (8, 34))
        for number in range(1, last + 1)
    ]
    assert ids == wanted


def test_the_requirements_of_pci_leave_no_gap() -> None:
    ids = [each.control_id for each in framework_of("pci-dss-4.0").controls]
    numbers = [tuple(map(int, each.split("."))) for each in ids]
    assert numbers == sorted(numbers)
    assert {each[0] for each in numbers} == set(range(1, 13))
    for before, after in pairwise(numbers):
        step = [after[place] - before[place] for place in range(3)]
        first = next(place for place in range(3) if step[place])
        assert step[first] == 1
        assert all(each == 1 for each in after[first + 1 :])


@pytest.mark.parametrize("name", list(load_frameworks()))
def test_a_mapping_names_known_checks_and_who_says_so(name: str) -> None:
    framework = framework_of(name)
    named = {each for control in framework.controls for each in control.check_ids}
    assert named <= set(CHECKS.checks)
    assert framework.names_checks == bool(named)
    assert framework.message.mapping.source
    assert framework.message.mapping.reference
    assert re.match(r"20[0-9]{2}", framework.message.mapping.date)
    for control in framework.controls:
        found = framework.checks_of(CHECKS, control)
        assert [each.id for each in found] == sorted({each.id for each in found})


def test_titles_are_short_and_our_own() -> None:
    """Facts alone are taken over: ids and relations, no sentence of a standard."""
    for framework in load_frameworks().values():
        if framework.message.baseline:
            continue
        titles = [each.title for each in framework.controls]
        assert all(len(title.split()) <= 10 for title in titles)
        assert not [title for title in titles if re.search(r"\b(shall|should|must be)\b", title)]


def test_the_checks_of_a_control_of_iso_are_those_of_its_related_controls() -> None:
    iso = framework_of("iso-27001-2022")
    cryptography = next(each for each in iso.controls if each.control_id == "A.8.24")
    assert list(cryptography.related_control_ids) == ["sc-12", "sc-13", "sc-17"]
    wanted = {check.id for each in ("sc-12", "sc-13", "sc-17") for check in CHECKS.of(each)}
    assert {each.id for each in iso.checks_of(CHECKS, cryptography)} == wanted
    assert "kms.rotation" in wanted


def test_a_baseline_is_the_framework_of_its_name() -> None:
    moderate = framework_of_baseline(ssp_pb2.BASELINE_FEDRAMP_MODERATE)
    assert (moderate.message.id, moderate.message.controls) == ("fedramp-moderate", 323)
    with pytest.raises(FieldInvalid, match="iso-27001-2022"):
        framework_of("iso-27001-2013")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("  - {control_id: A.1, title: One, related_control_ids: [ac-99]}", "ac-99 is no control"),
        ("  - {control_id: A.1, title: One, related_control_ids: [ac-13]}", "ac-13 is no control"),
        (
            "  - {control_id: A.1, title: One, check_ids: [s3.encryption, s3.gone]}",
            "A.1: s3.gone is no check",
        ),
        (
            "  - {control_id: A.1, title: One}\n  - {control_id: A.1, title: Two}",
            "stands there twice",
        ),
        ("  - {control_id: A.1}", "title"),
        ("  - {control_id: A.1, title: One, nist: []}", "nist"),
        ("  - [", "made.yaml"),
    ],
)
def test_a_broken_mapping_is_refused(text: str, problem: str) -> None:
    with pytest.raises(FrameworkInvalid, match=problem) as caught:
        bind_framework("made.yaml", HEAD + text)
    assert str(caught.value).startswith("made.yaml")


@pytest.mark.parametrize("text", ["", "- 1", "text", "framework: 3"])
def test_what_is_no_mapping_at_all_is_refused(text: str) -> None:
    with pytest.raises(FrameworkInvalid):
        bind_framework("made.yaml", text)


def test_a_control_takes_the_worst_verdict_of_its_related_controls() -> None:
    judged = [
        pb.ClaimVerdict(control_id="sc-12", verdict=pb.VERDICT_SUPPORTED),
        pb.ClaimVerdict(control_id="sc-13", verdict=pb.VERDICT_NO_EVIDENCE),
        pb.ClaimVerdict(control_id="sc-13", verdict=pb.VERDICT_CONTRADICTED),
        pb.ClaimVerdict(control_id="au-8", verdict=pb.VERDICT_SUPPORTED),
    ]
    found = framework_posture("a", framework_of("iso-27001-2022"), judged)
    by_id = {each.control_id: each for each in found.control_postures}
    cryptography = by_id["A.8.24"]
    assert cryptography.verdict == pb.VERDICT_CONTRADICTED
    assert list(cryptography.deciding_control_ids) == ["sc-13"]
    assert (cryptography.judged, cryptography.related) == (2, 3)
    assert by_id["A.8.17"].verdict == pb.VERDICT_SUPPORTED
    assert by_id["A.7.12"].verdict == pb.VERDICT_UNSPECIFIED
    assert found.without_verdict + sum(each.count for each in found.control_counts) == 93
    counts = {each.verdict: each.count for each in found.control_counts}
    assert counts == {pb.VERDICT_CONTRADICTED: 2, pb.VERDICT_SUPPORTED: 1}
    assert all(not load_controls()[each].withdrawn for each in cryptography.deciding_control_ids)
