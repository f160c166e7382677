"""Reports of what exceptions accept: valid as OSCAL, and nothing accepted is shown as false."""

from datetime import timedelta
from typing import Any

from secmesh.inventory.v1 import report_pb2 as api
from tests.service.compliance_world import NOW, document, requirement
from tests.service.exceptions_site import Site, site
from tests.service.test_exception_outcomes import buckets, evaluate
from tests.unit.oscal_rules import obeying, props

__all__ = ["site"]

STATES = {
    "sc-28.1": "implemented",
    "sc-13": "planned",
    "sc-28": "not-applicable",
    "sc-8": "partial",
    "au-12": "implemented",
}
HOSTILE = "=x | `y`\n# Heading <script>"


async def judged(site: Site) -> str:
    """Judge a plan of which one bucket and a missing trail are excepted; give the assessment."""
    await buckets(site, "NONE", "AES256")
    await site.world.sync(["cloudtrail_trails"])
    await site.world.plan(document(*(requirement(*each) for each in STATES.items())))
    await site.accept(resources='bucket_name == "b0"', reference=HOSTILE, reason=HOSTILE)
    await site.accept("no-trail", check_id="cloudtrail.multi_region")
    return (await evaluate(site)).assessment.name


async def written(site: Site, name: str, form: api.ReportFormat.ValueType) -> bytes:
    request = api.ExportAssessmentRequest(name=name, format=form)
    found = await site.compliance.ExportAssessment(request, metadata=site.by("ann"))
    return bytes(found.data)


def by_control(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["title"].split()[0]: each for each in listed}


async def test_oscal_with_exceptions_is_valid(site: Site) -> None:
    name = await judged(site)
    results = await written(site, name, api.REPORT_FORMAT_OSCAL_RESULTS)
    (result,) = obeying(results, "assessment_results")["results"]
    plan = obeying(await written(site, name, api.REPORT_FORMAT_OSCAL_POAM), "plan_of_action")
    end = (NOW + timedelta(days=30)).isoformat().replace("+00:00", "Z")
    for each in (result, plan):
        risks = by_control(each["risks"])
        for control in ("SC-28(1)", "SC-13"):
            assert (risks[control]["status"], risks[control]["deadline"]) == (
                "deviation-approved",
                end,
            )
            (why,) = risks[control]["mitigating-factors"]
            assert props(why, "exception") == ["tenants/acme/checkExceptions/public-site"]
        # The control applies whatever is accepted: what the plan says is false, and due as such.
        said = risks["SC-28"]
        assert (said["status"], "mitigating-factors" in said) == ("open", False)
        assert said["deadline"] != end
        assert risks["AU-12"]["status"] == "open"
        assert "SC-8" not in risks


async def test_a_page_with_exceptions_shows_a_failure_that_counts(site: Site) -> None:
    page = (await written(site, await judged(site), api.REPORT_FORMAT_HTML)).decode()
    first, _, rest = page[page.index('id="first"') :].partition("</section>")
    assert "AU-12" in first
    assert "is set aside by exceptions for 2" in first
    assert "encryption" not in first
    assert "Failures excepted" in rest
    assert "Heading &lt;script&gt;" in rest
