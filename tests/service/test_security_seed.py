"""``python -m services.security seed``: every kind, related and plausible, the same each time."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from google.protobuf import message_factory

from mesh.contract.catalogue import Kind
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from services.security.__main__ import SECURITY
from services.security.findings.machine import finding_machines
from services.security.seeding.plan import load_order, shares
from services.security.seeding.records import Chance, RecordMaker
from services.security.seeding.relations import Relations, references_of
from services.security.seeding.seeder import BATCH, _batches
from tests.service.security_records import is_given
from tests.service.security_world import CATALOGUE, KINDS
from tests.service.seeded_world import AUDITED, UNTIL, SeededWorld, seeded

RECORDS = 400
END = int(UNTIL.timestamp())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededWorld]:
    # Incidents that wait too long would be escalated after a while.
    with seeded(tmp_path_factory.mktemp("seeded"), "acme", records=RECORDS, upkeep=False) as made:
        yield made


@pytest.fixture(scope="module")
def records(world: SeededWorld) -> dict[str, list[Any]]:
    """All records of acme, as the service shows them, by collection."""
    found = {}
    for collection in KINDS:
        request = ListRecordsRequest(parent=f"tenants/acme/{collection}", page_size=1000)
        found[collection] = list(world.world.stub.ListRecords(request).records)
    return found


def body_of(record: Any) -> Any:
    return getattr(record, record.WhichOneof("body"))


def maker_of(kind: Kind, relations: Relations, seed: int = 1) -> RecordMaker:
    envelope = message_factory.GetMessageClass(kind.message)
    machine = finding_machines(CATALOGUE).get(kind.collection)
    return RecordMaker(kind, envelope, "acme", Chance(seed, END, RECORDS), relations, machine)


def alone(collection: str, numbers: range, seed: int = 1) -> list[Any]:
    """Make bodies of a kind that needs no other."""
    kind = KINDS[collection]
    maker = maker_of(kind, Relations([kind]), seed)
    return [body_of(maker.make(number)[0]) for number in numbers]


def test_every_kind_has_records(records: dict[str, list[Any]]) -> None:
    assert [collection for collection, found in records.items() if not found] == []
    # What the service itself notes of all that is not asked for.
    records = {name: [each for each in found if each.labels] for name, found in records.items()}
    # Small kinds, such as priorities, have fewer than their share.
    assert RECORDS * 0.9 < sum(map(len, records.values())) <= RECORDS


def test_what_is_made_is_marked(records: dict[str, list[Any]]) -> None:
    for collection, found in records.items():
        noted = [each for each in found if collection in AUDITED and not each.labels]
        assert all(each.labels["origin"] == "seed" for each in found if each not in noted)


def test_references_lead_to_records_and_all_kinds_hang_together(
    records: dict[str, list[Any]],
) -> None:
    names = {each.name for found in records.values() for each in found}
    tied: dict[str, set[str]] = {collection: {collection} for collection in records}
    for collection, found in records.items():
        for reference in references_of(KINDS[collection]):
            for target in (getattr(body_of(each), reference.field) for each in found):
                if target:
                    assert target in names
                    joined = tied[collection] | tied[reference.target]
                    for each in joined:
                        tied[each] = joined
    apart = [collection for collection, joined in tied.items() if len(joined) < len(records)]
    assert apart == []


def test_what_belongs_together_is_of_one_project(records: dict[str, list[Any]]) -> None:
    projects = {each.name: body_of(each).project_id for each in records["sast_scans"]}
    issues = [body_of(each) for each in records["sast_issues"] if body_of(each).scan_id]
    assert issues
    assert all(projects[issue.scan_id] == issue.project_id for issue in issues)


def test_findings_end_when_their_state_says_so(records: dict[str, list[Any]]) -> None:
    seen = Counter[bool]()
    for collection, machine in finding_machines(CATALOGUE).items():
        for body in map(body_of, records[collection]):
            state = machine.state(body.status)
            assert state is not None
            end = "close_time" if collection == "sast_issues" else "resolve_time"
            if end in body.DESCRIPTOR.fields_by_name:
                assert body.HasField(end) == state.closed, body
                seen[state.closed] += 1
    assert min(seen[True], seen[False]) > 3


def test_times_are_in_order_and_in_the_past(records: dict[str, list[Any]]) -> None:
    pairs = [
        ("first_seen_time", "last_seen_time"),
        ("last_seen_time", "resolve_time"),
        ("start_time", "end_time"),
        ("event_time", "resolve_time"),
    ]
    checked = 0
    for body in (body_of(each) for found in records.values() for each in found):
        fields = body.DESCRIPTOR.fields_by_name
        for first, last in pairs:
            if first in fields and last in fields and body.HasField(first) and body.HasField(last):
                assert getattr(body, first).seconds <= getattr(body, last).seconds <= END
                checked += 1
    assert checked > 30


def test_logs_are_named_after_the_time_they_are_of(records: dict[str, list[Any]]) -> None:
    for each in records["firewall_logs"]:
        milliseconds = int(each.name.rpartition("/")[2].replace("-", "")[:12], 16)
        assert milliseconds // 1000 == body_of(each).event_time.seconds


def test_the_same_again_changes_nothing(world: SeededWorld) -> None:
    arguments = ["--records", str(RECORDS), "--until", f"{UNTIL:%Y-%m-%d}"]
    again = world.run("seed", "--tenant", "acme", *arguments)
    assert again.returncode == 0, again.stderr
    tenant, _, told = again.stdout.strip().partition(": ")
    assert tenant == "acme"
    count, word = told.split(" ")
    assert (word, int(count) > RECORDS * 0.9) == ("unchanged", True)


def test_another_tenant_sees_none_of_it(world: SeededWorld) -> None:
    request = ListRecordsRequest(parent="tenants/beta/users")
    assert not world.world.strange.ListRecords(request).records


def test_every_field_is_filled_in_some_record() -> None:
    kinds = load_order(CATALOGUE)
    relations = Relations(kinds)
    for kind in kinds:
        # Duplicates are seldom, and times of being due are set where findings are written.
        missing = {
            field.name
            for field in kind.descriptor.fields
            if is_given(field) and field.name not in ("due_time", "duplicate_of_id", "depends_on")
        }
        if kind.collection == "incidents":
            missing.add("due_time")
        maker = maker_of(kind, relations)
        most = min(400, maker.keys.capacity(relations.pools))
        for number in range(1, most + 1):
            record, parents = maker.make(number)
            name = f"tenants/acme/{kind.collection}/{number}"
            relations.add(kind.collection, name, parents)
            missing -= {field.name for field, _ in body_of(record).ListFields()}
            if not missing and number > 2:
                break
        assert missing == set(), kind.collection


def test_few_things_are_critical() -> None:
    bodies = alone("threat_intelligence", range(1, 1001))
    severity = bodies[0].DESCRIPTOR.fields_by_name["severity"].enum_type
    counts = Counter(severity.values_by_number[body.severity].name for body in bodies)
    assert 10 < counts["SEVERITY_CRITICAL"] < counts["SEVERITY_HIGH"] < counts["SEVERITY_MEDIUM"]


def test_the_seed_decides_all() -> None:
    first, same, other = (alone("users", range(1, 20), seed) for seed in (7, 7, 8))
    assert first == same
    assert all(one != another for one, another in zip(first, other, strict=True))


def test_the_number_is_divided_among_kinds() -> None:
    kinds = load_order(CATALOGUE)
    few, many = shares(CATALOGUE, kinds, 1), shares(CATALOGUE, kinds, 1_000_000)
    assert set(few.values()) == {1}
    assert sum(many.values()) == 1_000_000
    assert many["firewall_logs"] > many["sast_issues"] > many["users"] > 1000


def test_any_number_is_made_in_batches() -> None:
    batches = list(islice(_batches(10**12), 4))
    assert [len(each) for each in batches] == [5, BATCH, BATCH, BATCH]
    relations = Relations(load_order(CATALOGUE))
    for number in range(5000):
        relations.add("users", f"tenants/acme/users/{number}", {})
    # What is kept to be referred to does not grow with what is written.
    assert len(relations.pools["users"]) == 1000


@pytest.mark.parametrize(
    "arguments",
    [("--records", "0"), ("--records", "many"), ("--until", "tomorrow"), ("--tenant", "a/b")],
)
def test_wrong_usage_is_named(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        SECURITY.main(["seed", "--tenant", "acme", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
