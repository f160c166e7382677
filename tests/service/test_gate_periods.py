"""Where new code begins, as the settings of a project say, over one real server."""

import pytest

from tests.service.gate_site import TENANT, Site
from tests.service.security_world import World


@pytest.fixture(scope="module")
def site(analysis: World) -> Site:
    return Site(analysis, TENANT)


def test_new_code_begins_after_the_version_before(site: Site) -> None:
    project = site.project(("new_bugs", "GT", 0))
    period = {"new_code_period": "NEW_CODE_PERIOD_PREVIOUS_VERSION"}
    site.plant("sast_project_settings", project_id=project, **period)

    def scan(version: str = "") -> str:
        """Scan a version, and find one more bug then."""
        made = site.scan(project, **({"project_version": version} if version else {}))
        seen = site.read(made).create_time.ToJsonString()
        site.issue(project, made, "BUG", "MAJOR", first_seen_time=seen)
        site.write()
        return made

    def new_bugs() -> object:
        [found] = site.judge(project).conditions
        return found.actual_value if found.HasField("actual_value") else found.reason

    scan()
    assert new_bugs() == "the last complete scan says no version of the project"
    scan("1.0")
    assert new_bugs() == "no complete scan is of a version before 1.0"
    scan("1.1")
    assert new_bugs() == 1
    scan("1.1")
    assert new_bugs() == 2, "all that came since 1.0"
    scan("1.2")
    assert new_bugs() == 1
