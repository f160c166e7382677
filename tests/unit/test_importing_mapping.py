"""What findings become: rows whose fields and enums the contract has."""

from collections.abc import Iterable

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.contract.catalogue import load_catalogue
from secmesh.security.v1.vocabulary_pb2 import ImportFormat
from services.security.importing import formats
from services.security.importing.mapping import DESTINATIONS, Mapper
from services.security.importing.mapping_threat import Graph
from services.security.importing.model import Problem, Rejected
from services.security.importing.rows import Context, Row, time
from tests.reports import read
from tests.unit.test_importing_cloud import ASFF, CYCLONE_VULNERABILITY, OCSF
from tests.unit.test_importing_formats import ALERT, NUCLEI, VULNERABILITY, zap
from tests.unit.test_importing_sarif import report, result

SEEN = "2026-01-01T00:00:00Z"
TAIL = "--da1065ce-972c-4605-8755-9cd1074e3b5a"


def rows(content: object, name: str, graph: Graph | None = None) -> list[Row | Rejected | Problem]:
    mapper = Mapper(name, Context("Scanner", SEEN), "ab" * 32, graph or Graph())
    return [row for item in read(content, name) for row in mapper.rows(item)]


def of(collection: str, found: Iterable[Row | Rejected | Problem]) -> list[Row]:
    return [row for row in found if isinstance(row, Row) and row.collection == collection]


FLOW = {"physicalLocation": {"artifactLocation": {"uri": "a.js"}, "region": {"startLine": 3}}}
SARIF = report(
    result(
        locations=[FLOW],
        suppressions=[{"kind": "inSource", "justification": "known"}],
        baselineState="new",
        partialFingerprints={"line": "1"},
        codeFlows=[{"threadFlows": [{"locations": [{"location": FLOW}]}]}],
    ),
    result(kind="pass"),
    result(baselineState="absent"),
)


def stix() -> dict[str, object]:
    marking = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
    indicator = {
        "type": "indicator",
        "id": f"indicator{TAIL}",
        "pattern": "[domain-name:value = 'it\\'s.test']",
        "valid_from": "2020-01-01T00:00:00.000Z",
        "object_marking_refs": [marking],
        "created_by_ref": f"identity{TAIL}",
        "kill_chain_phases": [{"kill_chain_name": "k", "phase_name": "p"}],
        "external_references": [{"source_name": "mitre-attack", "external_id": "T1059"}],
    }
    relationship = {
        "type": "relationship",
        "id": f"relationship{TAIL}",
        "relationship_type": "indicates",
        "source_ref": f"indicator{TAIL}",
        "target_ref": f"malware{TAIL}",
    }
    sighting = {"type": "sighting", "id": f"sighting{TAIL}", "sighting_of_ref": f"indicator{TAIL}"}
    identity = {"type": "identity", "id": f"identity{TAIL}", "name": "ACME feed"}
    objects = [indicator, relationship, sighting | {"count": 4}, sighting | {"count": -1}, identity]
    return {"type": "bundle", "id": f"bundle{TAIL}", "objects": objects}


REPORTS: dict[str, object] = {
    "SARIF": SARIF,
    "ZAP_JSON": zap(ALERT),
    "TRIVY_JSON": {
        "ArtifactName": "a",
        "Results": [{"Target": "t", "Vulnerabilities": [VULNERABILITY]}],
    },
    "CYCLONEDX_JSON": {"bomFormat": "CycloneDX", "vulnerabilities": [CYCLONE_VULNERABILITY]},
    "OCSF_JSON": [OCSF, OCSF | {"status_code": "PASS"}],
    "ASFF_JSON": [ASFF],
    "NUCLEI_JSON": [NUCLEI],
    "STIX_JSON": stix(),
}


def wrong(descriptor: Descriptor, values: object) -> list[str]:
    """What the message does not have: fields, and values of enums."""
    assert isinstance(values, dict)
    found: list[str] = []
    for name, value in values.items():
        field = descriptor.fields_by_name.get(name)
        if field is None:
            found.append(f"{descriptor.name} has no {name}")
        elif field.type == FieldDescriptor.TYPE_ENUM:
            assert field.enum_type
            names = [each.name for each in field.enum_type.values]
            if not any(each.endswith(f"_{value}") for each in names):
                found.append(f"{descriptor.name}.{name} cannot be {value}")
        elif field.message_type and not _opaque(field.message_type):
            assert isinstance(value, list) == field.is_repeated
            for each in value if isinstance(value, list) else [value]:
                found += wrong(field.message_type, each)
    return found


def _opaque(descriptor: Descriptor) -> bool:
    return descriptor.full_name.startswith("google.") or descriptor.GetOptions().map_entry


@pytest.mark.parametrize("name", REPORTS)
def test_rows_have_fields_and_values_that_the_contract_has(name: str) -> None:
    found = [row for row in rows(REPORTS[name], name) if isinstance(row, Row)]
    assert found
    kinds = load_catalogue("secmesh.security.v1").kinds
    missing = {row.collection for row in found} - set(kinds)
    if missing:
        pytest.skip(f"the contract has no {', '.join(sorted(missing))} yet")
    for row in found:
        kind = kinds[row.collection]
        assert wrong(kind.descriptor, row.values) == []
        assert set(row.refers) <= set(kind.descriptor.fields_by_name)


def test_every_format_has_a_destination_and_a_name_in_the_contract() -> None:
    read_here = {each.name for each in formats.FORMATS}
    assert set(DESTINATIONS) == read_here
    assert {f"IMPORT_FORMAT_{name}" for name in read_here} <= set(ImportFormat.keys())


def test_a_sarif_result_is_an_issue_of_its_rule() -> None:
    found = rows(SARIF, "SARIF")
    (rule,) = of("sast_rules", found)
    assert (rule.key, rule.values["severity"]) == ("Scanner:js/xss", "CRITICAL")
    assert (rule.values["rule_type"], rule.values["precision"]) == ("VULNERABILITY", "HIGH")
    (issue,) = of("sast_issues", found)
    assert issue.refers == {"rule_id": ("sast_rules", "Scanner:js/xss")}
    values = issue.values
    assert (values["status"], values["resolution"]) == ("RESOLVED", "ACCEPTED")
    assert values["suppression"] == [
        {"kind": "IN_SOURCE", "status": "ACCEPTED", "justification": "known"}
    ]
    assert values["partial_fingerprints"] == {
        "secmesh/v1": issue.key,
        "partialFingerprints/line": "1",
    }
    assert (values["file_path"], values["start_line"]) == ("a.js", 3)
    assert values["code_flows"] == [
        {"thread_flows": [{"steps": [{"file_path": "a.js", "start_line": 3}]}]}
    ]
    assert (values["first_seen_time"], values["last_seen_time"]) == (SEEN, SEEN)
    (scan,) = of("sast_scans", found)
    assert (scan.values["import_format"], scan.values["tool_version"]) == ("SARIF", "1.2.0")


def test_an_issue_without_a_file_is_the_repositorys() -> None:
    (issue,) = of("sast_issues", rows(report(result()), "SARIF"))
    assert issue.values["file_path"] == "."


def test_a_zap_instance_is_a_weakness() -> None:
    (row,) = of("dast_vulnerabilities", rows(zap(ALERT), "ZAP_JSON"))
    assert (row.values["severity"], row.values["confidence"], row.values["cwe_id"]) == (
        "MEDIUM",
        "HIGH",
        693,
    )
    assert row.values["alert_ref"] == "10038-1"
    assert "wasc_id" not in row.values


def test_what_a_vex_says_stays_with_its_state() -> None:
    first, second = of("app_security_issues", rows(REPORTS["CYCLONEDX_JSON"], "CYCLONEDX_JSON"))
    assert first.values["status"] == "SUPPRESSED"
    assert (first.values["vex_state"], first.values["vex_justification"]) == (
        "NOT_AFFECTED",
        "CODE_NOT_REACHABLE",
    )
    assert first.key != second.key


def test_a_cloud_finding_brings_its_account_and_resource_before_it() -> None:
    found = rows([OCSF], "OCSF_JSON")
    collections = [row.collection for row in found if isinstance(row, Row)]
    assert collections == ["cloud_accounts", "cloud_assets", "misconfigurations"]
    account, asset, finding = (row for row in found if isinstance(row, Row))
    assert asset.refers == {"account_id": ("cloud_accounts", account.key)}
    assert finding.refers["asset_id"] == ("cloud_assets", asset.key)
    assert (finding.values["check_status"], finding.values["status"]) == ("FAIL", "OPEN")
    assert finding.values["compliance_requirements"] == [
        {"framework": "CIS-2.0", "requirement_ids": ["2.1.1"]}
    ]


def test_a_check_that_passes_mends_the_one_that_failed() -> None:
    failed, passed = of(
        "misconfigurations",
        [*rows([OCSF], "OCSF_JSON"), *rows([OCSF | {"status_code": "PASS"}], "OCSF_JSON")],
    )
    assert failed.key == passed.key
    assert (passed.values["check_status"], passed.values["status"]) == ("PASS", "RESOLVED")


def test_relationships_and_sightings_are_folded_into_what_they_are_about() -> None:
    found = rows(stix(), "STIX_JSON", Graph.of(read(stix())))
    indicator, identity = of("threat_intelligence", found)
    values = indicator.values
    assert values["relationships"] == [
        {
            "type": "indicates",
            "target_stix_id": f"malware{TAIL}",
            "stix_id": f"relationship{TAIL}",
        }
    ]
    assert (values["sighting_count"], values["tlp"], values["source"]) == (4, "RED", "ACME feed")
    assert (values["ioc_type"], values["value"]) == ("DOMAIN_NAME", "it's.test")
    assert values["mitre_techniques"] == ["T1059"]
    assert (identity.values["tlp"], identity.values["source"]) == ("AMBER", "Scanner")
    assert [row for row in found if isinstance(row, Rejected)] == [
        Rejected(3, "/objects/3/count", "is less than 0")
    ]


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("2025-02-14T14:27:03.913874", "2025-02-14T14:27:03.913874Z"),
        ("2021-04-13T12:55:07+02:00", "2021-04-13T10:55:07Z"),
        ("2026-01-12T13:47:04.763761407Z", "2026-01-12T13:47:04.763761Z"),
        ("Sun, 7 Apr 2024 01:18:39", "2024-04-07T01:18:39Z"),
        ("0001-01-01T00:00:00+05:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_are_written_one_way(said: str, normal: str | None) -> None:
    assert time(said) == normal
