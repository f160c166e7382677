"""Items of a report are kept from its first reading, as long as they are few."""

import json

import pytest

from services.security.import_survey import Survey, survey
from services.security.importing.fingerprint import Fingerprints
from services.security.importing.limits import Limits
from services.security.importing.model import Finding
from services.security.importing.spool import Spool
from tests.unit.test_importing_sarif import report, result

CONTENT = json.dumps(report(result(), result(), {"ruleId": 7}, result(ruleId="other"))).encode()
KEPT = Limits()
READ_AGAIN = Limits(kept_bytes=10)


@pytest.mark.parametrize("limits", [KEPT, READ_AGAIN])
def test_a_second_look_gives_what_the_first_saw(limits: Limits) -> None:
    with Spool.of([CONTENT], KEPT) as plain, Spool.of([CONTENT], limits) as spool:
        first = Survey("SARIF", most_kept=0).items(plain)
        assert [item for item, _ in first] == [item for item, _ in survey(spool).items(spool)]


def test_what_is_kept_has_its_fingerprints_and_is_given_once() -> None:
    with Spool.of([CONTENT]) as spool:
        seen = survey(spool)
        kept = list(seen.items(spool))
        told = Fingerprints()
        findings = [(item, known) for item, known in kept if isinstance(item, Finding)]
        assert [known for _, known in findings] == [told.of(item) for item, _ in findings]
        assert len({known[0].value for _, known in findings}) == 3
        assert list(seen.items(spool)) == []


def test_too_many_items_are_not_kept() -> None:
    with Spool.of([CONTENT]) as spool:
        everything = [item for item, _ in survey(spool).items(spool)]
        seen = Survey("SARIF", most_kept=len(everything) - 1)
        for item in everything:
            seen.see(item)
        told, again = Fingerprints(), list(seen.items(spool))
        assert [item for item, _ in again] == everything
        findings = [(item, known) for item, known in again if isinstance(item, Finding)]
        assert [known for _, known in findings] == [told.of(item) for item, _ in findings]
