"""A small OSCAL catalog in the forms of NIST's, in words of our own."""

import copy
import json
from typing import Any

UUID = "5a1c3d7e-0000-4000-8000-000000000001"


def part(identifier: str, name: str, prose: str, *parts: Any, label: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"id": identifier, "name": name, "prose": prose, "parts": list(parts)}
    if label:
        made["props"] = [{"name": "label", "value": label}]
    return {key: value for key, value in made.items() if value}


def label(text: str) -> list[dict[str, str]]:
    return [
        {"name": "label", "value": f"{text}-zero-padded", "class": "zero-padded"},
        {"name": "label", "value": text},
    ]


AC_2_3 = {
    "id": "ac-2.3",
    "class": "SP800-53-enhancement",
    "title": "Disable Accounts",
    "props": label("AC-2(3)"),
    "params": [
        {"id": "ac-02.03_odp.01", "label": "time period", "guidelines": [{"prose": "A span."}]}
    ],
    "parts": [
        part(
            "ac-2.3_smt",
            "statement",
            "Switch accounts off within {{ insert: param, ac-02.03_odp.01 }} when they:",
            part("ac-2.3_smt.a", "item", "Have run out;", label="(a)"),
        )
    ],
}
AC_2 = {
    "id": "ac-2",
    "class": "SP800-53",
    "title": "Account Management",
    "params": [
        {
            "id": "ac-2_prm_1",
            "label": "organization-defined people",
            "props": [{"name": "aggregates", "value": "ac-02_odp.01"}],
        },
        {"id": "ac-02_odp.01", "label": "the people of one kind"},
        {
            "id": "ac-02_odp.02",
            "select": {
                "how-many": "one-or-more",
                "choice": ["at once", "within {{ insert: param, ac-02_odp.03 }}"],
            },
        },
        {"id": "ac-02_odp.03", "label": "days"},
        {"id": "ac-02_odp.04", "label": "frequency", "values": ["monthly"]},
        {"id": "ac-02_odp.05"},
    ],
    "props": label("AC-2"),
    "links": [
        {"href": "#ac-3", "rel": "related"},
        {"href": "#ac-03", "rel": "related"},
        {"href": "#77777777-0000-4000-8000-000000000001", "rel": "reference"},
        {"href": "https://example.com/", "rel": "canonical"},
    ],
    "parts": [
        part(
            "ac-2_smt",
            "statement",
            "",
            part("ac-2_smt.a", "item", "Say which accounts there may be;", label="a."),
            part(
                "ac-2_smt.b",
                "item",
                "Tell {{ insert: param, ac-2_prm_1 }} {{ insert: param, ac-02_odp.02 }}:",
                part("ac-2_smt.b.1", "item", "Look {{insert:param,ac-02_odp.04}};", label="1."),
                part("ac-2_smt.b.2", "item", "Ask {{ insert: param, ac-02_odp.05 }}.", label="2."),
                label="b.",
            ),
        ),
        part("ac-2_gdn", "guidance", "Accounts are of many kinds."),
        part("ac-2_obj", "assessment-objective", "Nobody keeps this."),
    ],
    "controls": [AC_2_3],
}
AC_13 = {
    "id": "ac-13",
    "class": "SP800-53",
    "title": "Supervision",
    "props": [*label("AC-13"), {"name": "status", "value": "withdrawn"}],
    "links": [
        {"href": "#ac-2", "rel": "incorporated-into"},
        {"href": "#au-6_smt.a", "rel": "moved-to"},
    ],
}
SC_28 = {
    "id": "SC-28",
    "title": "Protection of Information at Rest",
    "parts": [part("sc-28_smt", "statement", "Guard {{ insert: param, sc-28_prm_9 }} at rest.")],
}
NEWER = {"id": "si-99", "title": "Of a Later Release", "parts": []}
ODD = {"id": "local-1", "title": "Our own"}


def catalog() -> dict[str, Any]:
    """Give the whole document."""
    body = {
        "uuid": UUID,
        "metadata": {
            "title": "Controls, Rev 5, in our own words",
            "last-modified": "2026-01-02T03:04:05.5+01:00",
            "version": "5.9",
            "oscal-version": "1.1.3",
        },
        "groups": [
            {"id": "ac", "class": "family", "title": "Access Control", "controls": [AC_2, AC_13]},
            {"id": "sc", "title": "System Protection", "controls": [SC_28]},
        ],
        "controls": [NEWER, ODD],
        "back-matter": {
            "resources": [
                {
                    "uuid": "77777777-0000-4000-8000-000000000001",
                    "citation": {"text": "A publication\nof somebody"},
                }
            ]
        },
    }
    return copy.deepcopy({"catalog": body})


def written(document: Any) -> bytes:
    """Write a document in JSON."""
    return json.dumps(document).encode()
