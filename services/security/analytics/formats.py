"""The formats of documents, by the contract's numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from secmesh.security.v1.vocabulary_pb2 import DocumentFormat
from services.security.analytics.document_sarif import sarif_document
from services.security.analytics.document_xml import xml_document
from services.security.analytics.documents import (
    Report,
    csv_document,
    html_document,
    json_document,
    markdown_document,
)


@dataclass(frozen=True)
class Format:
    """How documents of one format are made."""

    media_type: str
    extension: str
    write: Callable[[Report], bytes]


def _when_needed(form: str) -> Callable[[Report], bytes]:
    """Give a writer whose libraries are loaded by the first document: they are large."""

    def write(report: Report) -> bytes:
        module = import_module(f"services.security.analytics.document_{form}")
        content: bytes = getattr(module, f"{form}_document")(report)
        return content

    return write


FORMATS: Mapping[int, Format] = {
    DocumentFormat.DOCUMENT_FORMAT_PDF: Format("application/pdf", "pdf", _when_needed("pdf")),
    DocumentFormat.DOCUMENT_FORMAT_HTML: Format("text/html; charset=utf-8", "html", html_document),
    DocumentFormat.DOCUMENT_FORMAT_JSON: Format("application/json", "json", json_document),
    DocumentFormat.DOCUMENT_FORMAT_XML: Format("application/xml", "xml", xml_document),
    DocumentFormat.DOCUMENT_FORMAT_CSV: Format("text/csv; charset=utf-8", "csv", csv_document),
    DocumentFormat.DOCUMENT_FORMAT_XLSX: Format(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
        _when_needed("xlsx"),
    ),
    DocumentFormat.DOCUMENT_FORMAT_MARKDOWN: Format(
        "text/markdown; charset=utf-8", "md", markdown_document
    ),
    DocumentFormat.DOCUMENT_FORMAT_SARIF: Format("application/sarif+json", "sarif", sarif_document),
}
"""All that the contract names."""
