"""Control ids, baselines and profile addresses as documents write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance import controls


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("AC-2(3)", "ac-2.3"),
        ("ac-2.3", "ac-2.3"),
        ("AC-02 (03)", "ac-2.3"),
        ("ac-02.03", "ac-2.3"),
        (" AC-2 ( 3 ) ", "ac-2.3"),
        ("SC-10", "sc-10"),
        ("ac-0", None),
        ("AC-2(3)(d)", None),
        ("ac_2", None),
        ("", None),
    ],
)
def test_control_ids(written: str, expected: str | None) -> None:
    assert controls.control_id(written) == expected


@given(st.sampled_from(sorted(controls.load_controls())))
def test_every_control_is_known_by_its_label(control: str) -> None:
    label = controls.load_controls()[control].label
    assert controls.control_id(label) == control
    family, _, numbers = control.partition("-")
    padded = ".".join(number.zfill(2) for number in numbers.split("."))
    assert controls.control_id(f"{family}-{padded}") == control


@given(st.text())
def test_any_text_is_a_control_id_of_the_right_form_or_none(text: str) -> None:
    found = controls.control_id(text)
    assert found is None or controls.control_id(found) == found


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ac-2_smt.a", ("ac-2", "ac-2_smt.a")),
        ("ac-2_stmt.a", ("ac-2", "ac-2_smt.a")),
        ("ac-02.03_smt.D", ("ac-2.3", "ac-2.3_smt.d")),
        ("ac-2_smt", ("ac-2", "")),
        ("_smt", None),
        ("ac-2", None),
    ],
)
def test_statement_ids(written: str, expected: tuple[str, str] | None) -> None:
    assert controls.statement_id(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ac-2.3_odp.2", "ac-02.03_odp.02"),
        ("ac-02.03_odp.02", "ac-02.03_odp.02"),
        ("AU-11_odp", "au-11_odp"),
        ("ac-2.3_prm_2", "ac-2.3_prm_2"),
        ("anything", "anything"),
    ],
)
def test_parameter_ids(written: str, expected: str) -> None:
    assert controls.parameter_id(written) == expected


def test_parameter_ids_of_the_publication_stay_as_they_are() -> None:
    for control in controls.load_controls().values():
        for parameter in control.parameters:
            assert controls.parameter_id(parameter) == parameter


@pytest.mark.parametrize(
    ("baseline", "size"),
    [
        (ssp_pb2.BASELINE_NIST_LOW, 149),
        (ssp_pb2.BASELINE_NIST_MODERATE, 287),
        (ssp_pb2.BASELINE_NIST_HIGH, 370),
        (ssp_pb2.BASELINE_NIST_PRIVACY, 102),
        (ssp_pb2.BASELINE_FEDRAMP_LI_SAAS, 156),
        (ssp_pb2.BASELINE_FEDRAMP_LOW, 156),
        (ssp_pb2.BASELINE_FEDRAMP_MODERATE, 323),
        (ssp_pb2.BASELINE_FEDRAMP_HIGH, 410),
    ],
)
def test_baselines_have_their_published_size(
    baseline: ssp_pb2.Baseline.ValueType, size: int
) -> None:
    found = controls.baseline_controls(baseline)
    assert len(found) == size
    assert not any(controls.load_controls()[control].withdrawn for control in found)


_RAW = "https://raw.githubusercontent.com/GSA/fedramp-automation/master/dist/content/rev5"


@pytest.mark.parametrize(
    ("reference", "baseline"),
    [
        (f"{_RAW}/baselines/json/FedRAMP_rev5_MODERATE-baseline_profile.json", "FEDRAMP_MODERATE"),
        (f"{_RAW}/json/FedRAMP_rev5_HIGH-baseline-resolved-profile_catalog.xml", "FEDRAMP_HIGH"),
        ("../profiles/FedRAMP_rev5_LI-SaaS-baseline_profile.json", "FEDRAMP_LI_SAAS"),
        ("FedRAMP_rev5_LOW-baseline_profile.json", "FEDRAMP_LOW"),
        ("FedRAMP Rev 5 Moderate Baseline", "FEDRAMP_MODERATE"),
        ("nist.gov/SP800-53/rev5/NIST_SP-800-53_rev5_PRIVACY-baseline.json", "NIST_PRIVACY"),
        ("NIST_SP-800-53_rev5_LOW-baseline_profile.json", "NIST_LOW"),
        ("NIST SP 800-53B Moderate", "NIST_MODERATE"),
        ("NIST Special Publication 800-53 Revision 5.1.1 HIGH IMPACT BASELINE", "NIST_HIGH"),
        ("nist.gov/SP800-53/rev4/NIST_SP-800-53_rev4_MODERATE-baseline.json", "UNSPECIFIED"),
        ("../select/profile.oscal.json", "UNSPECIFIED"),
        ("NIST_SP-800-53_rev5_catalog.json", "UNSPECIFIED"),
        ("", "UNSPECIFIED"),
    ],
)
def test_profiles_are_recognised(reference: str, baseline: str) -> None:
    assert controls.recognise_baseline(reference) == ssp_pb2.Baseline.Value(f"BASELINE_{baseline}")
