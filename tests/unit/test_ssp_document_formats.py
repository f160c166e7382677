"""The same claims are drawn from every format of document."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.documents.recognition import recognise
from tests.unit.ssp_tables import STATES, WRITERS, Told, expected, read_as, seen

_VOCABULARY: tuple[str, ...] = (
    "accounts",
    "keys",
    "are",
    "reviewed",
    "by",
    "our",
    "team",
    "with",
    "IAM",
    "twice",
)
_WORDS = st.lists(st.sampled_from(_VOCABULARY), min_size=3, max_size=8).map(
    lambda words: "The " + " ".join(words) + "."
)
_CONTROLS = sorted(each.id for each in load_controls().values() if not each.withdrawn)


@st.composite
def _told(draw: st.DrawFn) -> Told:
    control = draw(st.sampled_from(_CONTROLS))
    settable = [each for each in load_controls()[control].parameters if "_odp" in each]
    setting = draw(st.sampled_from(["", *settable]))
    return Told(
        control,
        draw(st.sampled_from(sorted(STATES))),
        draw(_WORDS),
        part=draw(st.sampled_from(["", "a", "b", "a.1"])),
        component=draw(st.sampled_from(["", "Directory", "Gate 7"])),
        inherited=draw(st.booleans()),
        due=draw(st.none() | st.dates(date(2001, 1, 1), date(2099, 1, 1))),
        parameter=f"{setting}: 90 days" if setting else "",
    )


# One claim a control: headings tell the parts of one control apart otherwise than tables do.
_PLANS = st.lists(_told(), min_size=1, max_size=8, unique_by=lambda each: each.control)


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=25)
@given(told=_PLANS)
def test_what_is_written_is_read(form: str, told: list[Told]) -> None:
    kind, write = WRITERS[form]
    content = write(told)
    plan = read_as(kind, content)
    assert seen(plan) == expected(told)
    names = {claim.name for claim in plan.claims}
    assert len(names) == len(told)
    assert {each.claim for each in plan.passages} - {""} == names
    assert all(claim.source for claim in plan.claims)


@pytest.mark.parametrize("form", WRITERS)
def test_the_format_is_recognised_by_content(form: str) -> None:
    kind, write = WRITERS[form]
    told = [Told("ac-2", ssp_pb2.CLAIM_STATE_PLANNED, "We do.", component="IAM")]
    assert recognise(write(told), "") == ssp_pb2.SspFormat.Value(f"SSP_FORMAT_{kind}")
