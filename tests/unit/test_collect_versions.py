"""What a unit's drafts change in the store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from mesh.contract.catalogue import Catalogue, CatalogueError, load_catalogue
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.registry import REGISTRY, Registry
from services.inventory.collect.versions import HEARTBEAT, Changes, Unit, moment, settle

CATALOGUE = load_catalogue("secmesh.inventory.v1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
SYNC = "tenants/acme/syncs/one"
GAP = Unread.of("s3:GetBucketEncryption", Outcome.DENIED, "AccessDenied")


def unit(collection: str = "s3_buckets", region: str = "global") -> Unit:
    return Unit(
        "acme",
        "123456789012",
        region,
        REGISTRY.collectors[collection],
        CATALOGUE.record_kinds[collection],
    )


def vault(name: str = "vault", **fields: Any) -> Draft[S3Bucket]:
    body = S3Bucket(bucket_name=name, **fields)
    return Draft(native_id=name, body=body, arn=f"arn:aws:s3:::{name}", region="eu-west-1")


def changes(
    *drafts: Draft[Any],
    stored: list[Record] | None = None,
    when: datetime = NOW,
    of: Unit | None = None,
    unlisted: Unread | None = None,
    last_reads: dict[str, datetime] | None = None,
) -> Changes:
    return settle(
        of or unit(),
        Collected(list(drafts), unlisted),
        {record.name: record for record in stored or ()},
        read_time=when,
        sync=SYNC,
        last_reads=last_reads or {},
    )


def opened(*drafts: Draft[Any], **more: Any) -> Record:
    (record,) = changes(*drafts, **more).opened
    return record


def test_a_new_resource_opens_a_version() -> None:
    record = opened(vault(encryption="AES256"))
    assert record.name.startswith("tenants/acme/s3_buckets/")
    assert len(record.name.rpartition("/")[2]) == 32
    assert (record.region, record.arn) == ("eu-west-1", "arn:aws:s3:::vault")
    assert record.sync == SYNC
    assert moment(record.valid_from) == NOW
    assert not record.HasField("valid_to")
    assert record.s3_bucket.encryption == "AES256"


def test_the_same_again_changes_nothing() -> None:
    old = opened(vault(encryption="AES256"))
    again = changes(vault(encryption="AES256"), stored=[old], when=LATER)
    assert (again.opened, again.closed, again.unchanged) == ([], {}, 1)


def test_a_change_closes_the_old_version_where_the_new_begins() -> None:
    old = opened(vault(encryption="AES256"))
    old.create_time.CopyFrom(timestamp(NOW))
    old.labels["owner"] = "ann"
    new = changes(vault(encryption="aws:kms"), stored=[old], when=LATER)
    (record,) = new.opened
    assert record.name == old.name
    assert new.closed == {old.name: LATER} == {record.name: moment(record.valid_from)}
    assert new.gone == 0
    assert record.create_time == old.create_time
    assert dict(record.labels) == {"owner": "ann"}


def test_a_clock_that_went_back_does_not_turn_history_around() -> None:
    old = opened(vault(encryption="AES256"), when=LATER)
    record = opened(vault(encryption="aws:kms"), stored=[old], when=NOW)
    assert moment(record.valid_from) > moment(old.valid_from)
    gone = changes(stored=[old], when=NOW)
    assert gone.closed[old.name] > moment(old.valid_from)


def test_what_vanished_is_closed_unless_the_listing_was_not_whole() -> None:
    old = opened(vault())
    assert changes(stored=[old]).closed.keys() == {old.name}
    assert changes(stored=[old], unlisted=GAP).closed == {}


def test_a_listing_that_repeats_itself_opens_one_version() -> None:
    assert len(changes(vault(), vault()).opened) == 1


def test_what_nothing_listed_is_kept_and_not_made() -> None:
    unsure = vault()
    unsure.only_if_stored = True
    assert changes(unsure).opened == []
    old = opened(vault(encryption="AES256"))
    unsure.miss(GAP, "encryption")
    found = changes(unsure, stored=[old])
    assert found.gone == 0
    assert found.opened[0].s3_bucket.encryption == "AES256"


def test_an_unread_field_keeps_its_value_and_the_time_of_its_reading() -> None:
    old = opened(vault(encryption="AES256", versioning="Enabled"))
    draft = vault(versioning="Suspended")
    draft.miss(GAP, "encryption")
    record = opened(draft, stored=[old], when=LATER)
    assert (record.s3_bucket.encryption, record.s3_bucket.versioning) == ("AES256", "Suspended")
    (mark,) = record.unread
    assert (mark.field, mark.action, mark.code) == (
        "encryption",
        "s3:GetEncryptionConfiguration",
        "AccessDenied",
    )
    assert moment(mark.last_read_time) == NOW


def test_the_manifest_may_know_of_a_later_reading() -> None:
    old = opened(vault(encryption="AES256"))
    draft = vault()
    draft.miss(GAP, "encryption")
    between = NOW + timedelta(hours=1)
    for known, expected in ((between, between), (NOW - timedelta(hours=1), NOW)):
        record = opened(draft, stored=[old], when=LATER, last_reads={GAP.action: known})
        assert moment(record.unread[0].last_read_time) == expected


def test_a_field_that_stays_unread_keeps_its_time() -> None:
    first = vault()
    first.miss(GAP, "encryption")
    never = opened(first)
    assert not never.unread[0].HasField("last_read_time")
    other = vault()
    other.miss(Unread.of("s3:GetBucketEncryption", Outcome.FAILED, "Timeout"), "encryption")
    still = opened(other, stored=[never], when=LATER, last_reads={GAP.action: LATER})
    assert not still.unread[0].HasField("last_read_time")
    assert still.unread[0].code == "Timeout"


def test_an_unread_list_and_map_are_kept_too() -> None:
    old = opened(vault(event_targets=["t"], tags={"a": "b"}))
    draft = vault()
    draft.miss(GAP, "event_targets", "tags")
    record = opened(draft, stored=[old], when=LATER)
    assert list(record.s3_bucket.event_targets) == ["t"]
    assert dict(record.s3_bucket.tags) == {"a": "b"}


def test_an_unread_region_keeps_the_stored_one_and_the_name() -> None:
    old = opened(vault(encryption="AES256"))
    draft = vault(encryption="NONE")
    draft.region = ""
    record = opened(draft, stored=[old], when=LATER)
    assert (record.name, record.region) == (old.name, "eu-west-1")


def test_names_differ_by_account_region_collection_and_native_id() -> None:
    def name(of: Unit, native_id: str = "x", region: str = "") -> str:
        return of.name(Draft(native_id=native_id, body=S3Bucket(), region=region))

    other_account = Unit("acme", "222222222222", "global", unit().collector, unit().kind)
    groups = "security_groups"
    names = {
        name(unit()),
        name(unit(), "y"),
        name(other_account),
        name(unit(groups, "eu-west-1")),
        name(unit(groups, "us-east-1")),
        name(unit("iam_users")),
    }
    assert len(names) == 6
    # A trail has one name, whichever region's unit saw it.
    trails = "cloudtrail_trails"
    seen_at_home = name(unit(trails, "us-east-1"), region="us-east-1")
    assert name(unit(trails, "eu-west-1"), region="us-east-1") == seen_at_home


@pytest.mark.parametrize(
    ("moved", "versions"),
    [
        (timedelta(), 0),
        (HEARTBEAT - timedelta(seconds=1), 0),
        (HEARTBEAT, 1),
        (-timedelta(seconds=1), 1),
    ],
)
def test_a_heartbeat_makes_a_version_only_when_it_moved_far(
    moved: timedelta, versions: int
) -> None:
    trails = unit("cloudtrail_trails", "us-east-1")

    def trail(when: datetime, **fields: Any) -> Draft[CloudtrailTrail]:
        body = CloudtrailTrail(latest_delivery_time=timestamp(when), **fields)
        return Draft(native_id="t", body=body, region="us-east-1")

    old = opened(trail(NOW), of=trails)
    found = changes(trail(NOW + moved), stored=[old], of=trails, when=LATER)
    assert len(found.opened) == versions
    # With another change the version comes, and the time in it stays the near one.
    changed = opened(trail(NOW + moved, is_logging=True), stored=[old], of=trails, when=LATER)
    near = NOW if versions == 0 else NOW + moved
    assert moment(changed.cloudtrail_trail.latest_delivery_time) == near


def test_the_collectors_fit_the_contract() -> None:
    REGISTRY.check(CATALOGUE)


def test_a_kind_without_a_collector_is_named() -> None:
    fewer = {name: each for name, each in REGISTRY.collectors.items() if name != "iam_users"}
    with pytest.raises(CatalogueError, match="IamUser"):
        Registry(fewer).check(CATALOGUE)


def test_a_collector_without_a_kind_is_named() -> None:
    fewer = {name: each for name, each in CATALOGUE.kinds.items() if name != "iam_users"}
    with pytest.raises(CatalogueError, match="iam_users"):
        REGISTRY.check(Catalogue(CATALOGUE.package, fewer, CATALOGUE.methods))


def test_only_fields_of_the_body_can_be_missed() -> None:
    with pytest.raises(ValueError, match="encryptoin"):
        vault().miss(GAP, "encryptoin")
