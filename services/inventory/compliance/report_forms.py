"""The forms in which an assessment leaves the service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from secmesh.inventory.v1 import report_pb2 as api
from services.inventory.compliance.oscal_documents import assessment_results, poam
from services.inventory.compliance.report import Report, json_report, markdown_report
from services.inventory.compliance.report_csv import csv_report
from services.inventory.compliance.report_html import html_report

JSON = "application/json"


@dataclass(frozen=True)
class Form:
    """One form of a report."""

    content_type: str
    write: Callable[[Report], bytes]
    tells_more: bool = False
    """Whether it shows the trend, and what mends each failure."""
    tells_plan: bool = False
    """Whether it shows the recommendations."""
    tells_demands: bool = False
    """Whether it shows the words of contradicted controls."""


FORMS: Mapping[api.ReportFormat.ValueType, Form] = MappingProxyType(
    {
        api.REPORT_FORMAT_JSON: Form(JSON, json_report),
        api.REPORT_FORMAT_MARKDOWN: Form(
            "text/markdown; charset=utf-8", markdown_report, tells_plan=True, tells_demands=True
        ),
        api.REPORT_FORMAT_OSCAL_RESULTS: Form(JSON, assessment_results),
        api.REPORT_FORMAT_OSCAL_POAM: Form(JSON, poam),
        api.REPORT_FORMAT_CSV: Form(
            "text/csv; charset=utf-8; header=present", csv_report, tells_plan=True
        ),
        api.REPORT_FORMAT_HTML: Form(
            "text/html; charset=utf-8", html_report, tells_more=True, tells_demands=True
        ),
    }
)
"""Every form of the contract but the unspecified one."""
