"""Documents as XML 1.0: tables with their columns, and cells that tell the type of their value."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from services.security.analytics.documents import Report, period_of, text_of

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no document of XML 1.0 can hold (2.2)."""


def xml_document(report: Report) -> bytes:
    """Write values as JSON types them; characters that XML cannot hold are U+FFFD."""
    root = Element("report", {"title": _clean(report.title), **period_of(report)})
    for table in report.tables:
        attributes = {"title": _clean(table.title), "collection": table.collection}
        part = SubElement(root, "table", attributes)
        for name in table.columns:
            SubElement(part, "column", {"name": name})
        for row in table.rows:
            line = SubElement(part, "row")
            for value in row:
                line.append(_cell(value))
    indent(root, space=" ")
    content: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _cell(value: Any) -> Element:
    made = Element("cell", {"type": next(_types(value))})
    if value is not None:
        made.text = _clean(text_of(value))
    return made


def _types(value: Any) -> Iterator[str]:
    if value is None:
        yield "null"
    if isinstance(value, bool):
        yield "boolean"
    if isinstance(value, int | float):
        yield "number"
    yield "json" if isinstance(value, dict | list) else "string"


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
