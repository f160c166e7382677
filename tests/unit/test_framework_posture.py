"""Verdicts rolled up to the controls of a framework: what rests on an exception is set apart."""

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import framework_pb2
from services.inventory.compliance.framework_posture import framework_posture
from services.inventory.compliance.frameworks import framework_of

PARTLY = pb.VERDICT_PARTLY_SUPPORTED


def verdict(control: str, word: pb.Verdict.ValueType, *, excepted: bool = False) -> pb.ClaimVerdict:
    return pb.ClaimVerdict(control_id=control, verdict=word, rests_on_exception=excepted)


def cryptography(*verdicts: pb.ClaimVerdict) -> framework_pb2.FrameworkPosture:
    """Roll up to ISO 27001, of which A.8.24 is related to sc-12, sc-13 and sc-17."""
    return framework_posture("a", framework_of("iso-27001-2022"), verdicts)


def decided(*verdicts: pb.ClaimVerdict) -> tuple[pb.Verdict.ValueType, bool, list[str]]:
    (found,) = (
        each for each in cryptography(*verdicts).control_postures if each.control_id == "A.8.24"
    )
    return found.verdict, found.rests_on_exception, list(found.deciding_control_ids)


def test_the_worst_decides_and_says_whether_it_rests_on_an_exception() -> None:
    supported = verdict("sc-12", pb.VERDICT_SUPPORTED)
    excepted = verdict("sc-13", PARTLY, excepted=True)
    assert decided(supported, excepted) == (PARTLY, True, ["sc-13"])
    worse = verdict("sc-17", pb.VERDICT_CONTRADICTED)
    assert decided(excepted, worse) == (worse.verdict, False, ["sc-17"])
    assert decided(supported) == (pb.VERDICT_SUPPORTED, False, ["sc-12"])
    assert decided() == (pb.VERDICT_UNSPECIFIED, False, [])


def test_an_exception_outweighs_what_agrees_and_not_what_fails() -> None:
    plain = verdict("sc-12", PARTLY)
    excepted = verdict("sc-13", PARTLY, excepted=True)
    assert decided(plain, excepted) == (PARTLY, True, ["sc-12", "sc-13"])
    gap = verdict("sc-12", pb.VERDICT_GAP_CONFIRMED)
    accepted = verdict("sc-13", pb.VERDICT_GAP_CONFIRMED, excepted=True)
    assert decided(gap, accepted) == (pb.VERDICT_GAP_CONFIRMED, False, ["sc-12", "sc-13"])


def test_several_claims_on_one_control_are_one() -> None:
    excepted = verdict("sc-13", PARTLY, excepted=True)
    for order in ((excepted, verdict("sc-13", PARTLY)), (verdict("sc-13", PARTLY), excepted)):
        assert decided(*order) == (PARTLY, True, ["sc-13"])


def test_excepted_controls_are_counted_among_all() -> None:
    found = cryptography(verdict("sc-13", PARTLY, excepted=True))
    (counted,) = found.excepted_control_counts
    assert counted in found.control_counts
    assert counted.count == sum(each.rests_on_exception for each in found.control_postures)
    assert found.without_verdict + counted.count == found.framework.controls
    assert not cryptography(verdict("sc-13", PARTLY)).excepted_control_counts
