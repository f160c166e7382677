"""Which results of two reports are the same finding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.security.importing.fingerprint import (
    VERSION,
    Fingerprints,
    normal_path,
    snippet_hash,
    values,
)
from services.security.importing.model import (
    Component,
    Finding,
    Location,
    Severity,
    Subject,
    Web,
)


def finding(
    key: str = "r1", path: str = "src/a.py", snippet: str = "eval(x)", line: int = 3
) -> Finding:
    return Finding(
        index=0,
        pointer="",
        subject=Subject.CODE,
        rule_key=key,
        title="t",
        severity=Severity.LOW,
        severity_said="low",
        message="m",
        locations=(Location(path, line, snippet=snippet),),
    )


FINDINGS = st.lists(
    st.builds(
        finding,
        key=st.sampled_from(["r1", "r2"]),
        path=st.sampled_from(["a.py", "b.py"]),
        snippet=st.sampled_from(["x", "y", ""]),
        line=st.integers(1, 9),
    ),
    max_size=12,
)


@given(FINDINGS)
def test_every_result_of_a_report_has_its_own(findings: list[Finding]) -> None:
    assert len(set(values(findings))) == len(findings)


@given(FINDINGS, st.randoms())
def test_the_order_of_results_does_not_matter(findings: list[Finding], random: object) -> None:
    shuffled = list(findings)
    getattr(random, "shuffle")(shuffled)  # noqa: B009 - hypothesis types it as an object
    assert sorted(values(findings)) == sorted(values(shuffled))


@given(FINDINGS, FINDINGS)
def test_results_of_other_rules_change_nothing(ours: list[Finding], others: list[Finding]) -> None:
    foreign = [replace(each, rule_key="other") for each in others]
    assert set(values(ours)) <= set(values([*foreign, *ours]))


@given(st.integers(1, 9999), st.sampled_from(["", "  ", "\t"]))
def test_a_result_that_moves_or_is_indented_stays_the_same(line: int, indent: str) -> None:
    moved = finding(snippet=f"{indent}eval(x)\n", line=line)
    assert values([moved]) == values([finding()])


@pytest.mark.parametrize(
    "other",
    [
        finding(key="r2"),
        finding(path="src/b.py"),
        finding(snippet="eval(y)"),
        replace(finding(), fingerprints=(("line", "abc"),)),
        replace(finding(), component=Component("left-pad", "1.0")),
        replace(finding(), web=Web("https://a.test/x")),
    ],
)
def test_another_rule_place_or_code_is_another_finding(other: Finding) -> None:
    assert values([other]) != values([finding()])


def test_parts_are_not_confused_with_their_neighbours() -> None:
    first = replace(finding(), rule_key="ab", locations=(Location("c"),))
    second = replace(finding(), rule_key="a", locations=(Location("bc"),))
    assert values([first]) != values([second])


def test_a_request_is_known_without_its_query() -> None:
    first = replace(finding(), web=Web("https://a.test/p?id=1", "GET", "id"))
    again = replace(finding(), web=Web("https://a.test/p?id=2", "GET", "id"))
    other = replace(finding(), web=Web("https://a.test/p?id=1", "GET", "name"))
    assert values([first]) == values([again])
    assert values([first]) != values([other])


def test_the_tools_own_fingerprints_are_kept_and_decide() -> None:
    tools = (("hash/v2", "b"), ("hash/v1", "a"))
    marked = replace(finding(), fingerprints=tools)
    ours, *kept = Fingerprints().of(marked)
    assert ours.algorithm == f"secmesh/v{VERSION}"
    assert [(each.algorithm, each.value) for each in kept] == list(tools)
    rewritten = replace(finding(snippet="eval(z)"), fingerprints=tools)
    assert values([rewritten]) == [ours.value]


def test_version_one_stays_what_it_is() -> None:
    """Stored fingerprints hold as long as this does: a change needs a new version."""
    assert values([finding(), finding()]) == [
        "5266bde88288a3bb1ab84b46bc3532c70fc7ddbae7facc7c8f759e7ac5579374",
        "26dad95b11844c14cadb56198bed3b1183d48c2a6a4bf6e9beed4e7b0da81f09",
    ]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("src/a.py", "src/a.py"),
        ("./src/a.py", "src/a.py"),
        ("src\\a.py", "src/a.py"),
        ("src//b/../a.py", "src/a.py"),
        ("file:///C:/src/a%20b.py", "src/a b.py"),
        ("file:/src/a.py", "src/a.py"),
        ("file://host/src/a.py", "src/a.py"),
        ("FILE:///src/a.py", "src/a.py"),
        ("C:\\src\\a.py", "src/a.py"),
        ("../a.py", "../a.py"),
        ("100%25.py", "100%25.py"),
        ("", ""),
    ],
)
def test_paths_are_written_one_way(written: str, normal: str) -> None:
    assert normal_path(written) == normal


def test_paths_are_relative_to_their_root() -> None:
    assert normal_path("file:///home/ci/src/a.py", "file:///home/ci") == "src/a.py"
    assert normal_path("file:///home/cinema/a.py", "file:///home/ci") == "home/cinema/a.py"


@given(st.text(alphabet="ab./\\:% ", max_size=20))
def test_a_normal_path_is_normal(path: str) -> None:
    once = normal_path(path)
    assert "\\" not in once
    assert not once.startswith("/")


@given(st.lists(st.text(alphabet="ab ", max_size=5), max_size=5))
def test_space_around_lines_does_not_count(lines: list[str]) -> None:
    bare = "\n".join(line.strip() for line in lines)
    assert snippet_hash("\n".join(f"  {line}  " for line in lines)) == snippet_hash(bare)
