"""Memory of a service that imports a report of a gigabyte."""

from tests.service.conftest import imports, project
from tests.service.import_world import Imports, counts
from tests.service.large_reports import MEGABYTE, RESULT, forget_peak, peak, send

__all__ = ["imports", "project"]
MOST_GROWTH = 30
"""MB by which it may take more than a report of 20 MB."""


def test_a_gigabyte_takes_no_more_memory_than_a_small_report(
    imports: Imports, project: str
) -> None:
    peaks = []
    for size in (20 * MEGABYTE, 1000 * MEGABYTE):
        forget_peak(imports.world.pid)
        answer = send(imports, size, f"{project} {size}")
        assert counts(answer, "sast_issues") == {"created": size // RESULT}
        peaks.append(peak(imports.world.pid))
    small, large = peaks
    print(f"{small:.0f} MB of 20 MB, {large:.0f} MB of a gigabyte")  # noqa: T201  # the result
    assert large - small <= MOST_GROWTH
