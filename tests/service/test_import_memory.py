"""Memory of the service does not grow with the report."""

import sys

import pytest

from tests.service.import_world import Imports, counts
from tests.service.large_reports import MEGABYTE, RESULT, forget_peak, peak, send

MOST_GROWTH = 30
"""MB by which a report of 100 MB may take more than one of 20 MB."""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_a_large_report_takes_no_more_memory_than_a_small_one(
    imports: Imports, project: str
) -> None:
    peaks = []
    for size in (20 * MEGABYTE, 100 * MEGABYTE):
        forget_peak(imports.world.pid)
        answer = send(imports, size, f"{project} {size}")
        assert counts(answer, "sast_issues") == {"created": size // RESULT}
        peaks.append(peak(imports.world.pid))
    small, large = peaks
    assert large - small <= MOST_GROWTH, f"{small:.0f} MB, then {large:.0f} MB"
