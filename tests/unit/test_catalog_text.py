"""OSCAL catalogs are read into the text of controls, or refused with the place."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from secmesh.inventory.v1.catalog_pb2 import CatalogControl, CatalogParameter, CatalogPart
from services.inventory.catalogs import catalog_reading
from services.inventory.catalogs.catalog_reading import Text, read_catalog
from services.inventory.catalogs.insertions import MAX_TEXT, Printer
from services.inventory.compliance.controls import load_controls
from services.inventory.errors import CatalogInvalid
from tests.unit.oscal_catalog import UUID, catalog, part, written

NAME = "tenants/acme/catalogs/nist-sp-800-53-rev5"
Spoil = Callable[[dict[str, Any]], None]


def read(document: Any) -> Text:
    return read_catalog(NAME, written(document))


def of(text: Text, control: str) -> CatalogControl:
    (found,) = [each for each in text.controls if each.name == f"{NAME}/controls/{control}"]
    return found


def test_a_control_is_read_with_its_words_parameters_and_relations() -> None:
    made = of(read(catalog()), "ac-2")
    assert (made.label, made.title, made.family) == (
        "AC-2",
        "Account Management",
        "Access Control",
    )
    assert list(made.related_control_ids) == ["ac-3"]
    assert list(made.publications) == ["A publication of somebody"]
    assert list(made.enhancement_ids) == ["ac-2.3"]
    assert [(each.id, each.label, each.depth) for each in made.parts] == [
        ("ac-2_smt", "", 0),
        ("ac-2_smt.a", "a.", 1),
        ("ac-2_smt.b", "b.", 1),
        ("ac-2_smt.b.1", "1.", 2),
        ("ac-2_smt.b.2", "2.", 2),
        ("ac-2_gdn", "", 0),
    ]
    assert made.parts[-1].kind == CatalogPart.KIND_GUIDANCE
    assert made.parts[2].prose == (
        "Tell {{ insert: param, ac-2_prm_1 }} {{ insert: param, ac-02_odp.02 }}:"
    )
    assert made.parts[2].text == (
        "Tell [Assignment: organization-defined people] "
        "[Selection (one or more): at once; within [Assignment: organization-defined days]]:"
    )
    assert made.parts[3].text == "Look monthly;"
    assert made.parts[4].text == "Ask [Assignment: organization-defined ac-02_odp.05]."
    assert [each.id for each in made.parameters][:2] == ["ac-2_prm_1", "ac-02_odp.01"]
    assert list(made.parameters[0].aggregates) == ["ac-02_odp.01"]


def test_a_withdrawn_control_tells_where_it_lives_on() -> None:
    made = of(read(catalog()), "ac-13")
    assert made.withdrawn
    assert list(made.incorporated_into) == ["ac-2", "au-6_smt.a"]
    assert not made.parts


def test_it_is_told_what_was_understood() -> None:
    text = read(catalog())
    made = text.catalog
    assert (made.document_uuid, made.version, made.oscal_version) == (UUID, "5.9", "1.1.3")
    assert made.last_modify_time.ToJsonString() == "2026-01-02T02:04:05.500Z"
    assert (made.controls, made.withdrawn, made.parameters, made.statements) == (5, 1, 7, 8)
    assert list(made.unknown_control_ids) == ["si-99"]
    assert list(made.unlabelled_parameter_ids) == ["ac-02_odp.05"]
    known = {each.name.rpartition("/")[2] for each in text.controls}
    assert list(made.missing_control_ids) == [each for each in load_controls() if each not in known]
    assert [(each.pointer, each.problem) for each in made.issues] == [
        ("/catalog/controls/1/id", "'local-1' is no id of a control of SP 800-53"),
        ("/catalog/groups/1/controls/0", "the words insert unknown parameters: sc-28_prm_9"),
    ]
    assert [each.position for each in text.controls] == [1, 2, 3, 4, 5]


def test_yaml_is_read_as_the_same_json() -> None:
    one, other = read(catalog()), read_catalog(NAME, yaml.safe_dump(catalog()).encode())
    assert other.controls == one.controls
    other.catalog.document_sha256 = one.catalog.document_sha256
    assert other.catalog == one.catalog


@pytest.mark.parametrize("version", ["1.0.0", "1.0.4", "1.1.2", "1.2.0", "v1.1.3"])
def test_versions_that_are_read(version: str) -> None:
    document = catalog()
    document["catalog"]["metadata"]["oscal-version"] = version
    assert read(document).catalog.oscal_version == version


def test_a_resolved_profile_inserts_parameters_that_stand_around_its_controls() -> None:
    document = catalog()
    body = document["catalog"]
    body["params"] = [
        {"id": "sc-28_prm_9", "select": {"choice": ["{{ insert: param, sc-28_prm_8 }}", "all"]}},
        {"id": "sc-28_prm_8", "values": ["what is ours"]},
        {"id": "ac-99_odp", "label": "of nobody"},
    ]
    made = of(read(document), "sc-28")
    assert made.parts[0].text == "Guard [Selection (one): what is ours; all] at rest."
    assert [each.id for each in made.parameters] == ["sc-28_prm_9", "sc-28_prm_8"]


def test_values_of_a_plan_are_printed_in_place_of_labels() -> None:
    made = of(read(catalog()), "ac-2")
    known = {each.id: each for each in made.parameters}
    values = {"ac-02_odp.01": "the managers", "ac-02_odp.02": "at once", "ac-02_odp.04": "daily"}
    printer = Printer(known, values)
    assert printer.printed(made.parts[2].prose) == "Tell the managers at once:"
    assert printer.printed(made.parts[3].prose) == "Look daily;"


def test_selections_of_each_other_end_and_long_words_are_cut() -> None:
    def loop(one: str, other: str) -> CatalogParameter:
        return CatalogParameter(id=one, choices=[f"{{{{ insert: param, {other} }}}}"] * 100)

    printer = Printer({"a": loop("a", "b"), "b": loop("b", "a")})
    text = printer.printed("{{ insert: param, a }}" * 1000)
    assert len(text) == MAX_TEXT
    assert text.endswith("…")


def refused(document: Any) -> tuple[str, str]:
    content = document if isinstance(document, bytes) else written(document)
    with pytest.raises(CatalogInvalid) as caught:
        read_catalog(NAME, content)
    assert caught.value.metadata is not None
    return caught.value.metadata["pointer"], str(caught.value)


@pytest.mark.parametrize(
    ("content", "pointer", "problem"),
    [
        (b"", "", "must be an object, not null"),
        (b"{", "", "not JSON"),
        (b"<catalog/>", "", "the document is XML"),
        (b"%PDF-1.7", "", "a PDF file"),
        (b"catalog: [1\nb: }", "line 2, column 2", "is no YAML"),
        (b'{"profile": {}}', "/profile", "model is profile, not catalog"),
        (b'{"catalog": {"uuid": "x"}}', "/catalog/metadata", "is required and missing"),
        (b"[" * 100_000, "", "not JSON"),
    ],
)
def test_documents_that_are_no_catalog_are_refused(
    content: bytes, pointer: str, problem: str
) -> None:
    place, told = refused(content)
    assert place == pointer
    assert problem in told


def no_known(body: dict[str, Any]) -> None:
    del body["groups"]


def revision_4(body: dict[str, Any]) -> None:
    body["metadata"]["title"] = "NIST Special Publication 800-53 Revision 4"


def old_oscal(body: dict[str, Any]) -> None:
    body["metadata"]["oscal-version"] = "2.0.0"


def twice(body: dict[str, Any]) -> None:
    body["controls"].append({"id": "AC-02", "title": "Once more"})


def parameter_twice(body: dict[str, Any]) -> None:
    params = body["groups"][0]["controls"][0]["params"]
    params.append(params[1])


def deep_groups(body: dict[str, Any]) -> None:
    inner: dict[str, Any] = {"id": "g", "title": "g"}
    for _ in range(20):
        inner = {"id": "g", "title": "g", "groups": [inner]}
    body["groups"].append(inner)


def deep_parts(body: dict[str, Any]) -> None:
    inner = part("x", "item", "x")
    for _ in range(20):
        inner = part("x", "item", "x", inner)
    body["groups"][1]["controls"][0]["parts"] = [part("x", "statement", "x", inner)]


def many_parts(body: dict[str, Any]) -> None:
    items = [part(f"x.{number}", "item", "x") for number in range(500)]
    body["groups"][1]["controls"][0]["parts"] = [part("x", "statement", "x", *items)]


def long_words(body: dict[str, Any]) -> None:
    body["groups"][1]["controls"][0]["parts"][0]["prose"] = "x" * 32_769


def many_parameters(body: dict[str, Any]) -> None:
    body["params"] = [{"id": f"x_{number}"} for number in range(501)]


def odd_kind(body: dict[str, Any]) -> None:
    body["groups"][0]["controls"][0]["title"] = 7


@pytest.mark.parametrize(
    ("spoil", "pointer", "problem"),
    [
        (no_known, "/catalog", "no control of SP 800-53 rev 5"),
        (revision_4, "/catalog/metadata/title", "revision 5 is taken"),
        (old_oscal, "/catalog/metadata/oscal-version", "OSCAL 1.0 to 1.2"),
        (twice, "/catalog/groups/0/controls/0/id", "ac-2 stands there twice"),
        (parameter_twice, "/catalog/groups/0/controls/0/params/6/id", "stands there twice"),
        (deep_groups, "/catalog/groups/2", "nested too deeply"),
        (deep_parts, "/catalog/groups/1/controls/0/parts/0", "nested too deeply"),
        (many_parts, "/catalog/groups/1/controls/0/parts/0/parts/499", "more than 500 parts"),
        (long_words, "/catalog/groups/1/controls/0/parts/0/prose", "32,768 are taken"),
        (many_parameters, "/catalog/params", "more than 500 parameters"),
        (odd_kind, "/catalog/groups/0/controls/0/title", "must be a string"),
    ],
)
def test_broken_catalogs_are_refused_with_the_place(
    spoil: Spoil, pointer: str, problem: str
) -> None:
    document = catalog()
    spoil(document["catalog"])
    place, told = refused(document)
    assert place.startswith(pointer), place
    assert problem in told


def test_text_that_its_parameters_blow_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    document = catalog()
    known = document["catalog"]["groups"][1]["controls"][0]
    known["params"] = [{"id": "sc-28_prm_9", "label": "x" * 1000}]
    known["parts"][0]["prose"] = "{{ insert: param, sc-28_prm_9 }}" * 900
    known["parts"] = [known["parts"][0]] * 20
    place, told = refused(document)
    assert place == "/catalog/groups/1/controls/0"
    assert "bytes of text" in told
    monkeypatch.setattr(catalog_reading, "MAX_TEXT_BYTES", 1000)
    assert "the controls hold more than 1,000 bytes" in refused(catalog())[1]


def test_odd_dates_and_ids_are_told_and_refuse_nothing() -> None:
    document = catalog()
    body = document["catalog"]
    body["uuid"], body["metadata"]["last-modified"] = "mine", "yesterday"
    body["groups"][1]["controls"][0]["parts"].append(part("x", "overview", "x"))
    made = read(json.loads(written(document))).catalog
    assert [each.pointer for each in made.issues][:2] == [
        "/catalog/uuid",
        "/catalog/metadata/last-modified",
    ]
    assert "parts named 'overview' are not kept" in {each.problem for each in made.issues}
    assert not made.HasField("last_modify_time")
