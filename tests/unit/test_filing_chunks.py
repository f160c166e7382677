"""Conditions over the ids of resources, whatever those are."""

from mesh.cel import Environment
from mesh.contract.catalogue import load_catalogue
from secmesh.security.v1.cloud_asset_pb2 import CloudAsset
from services.inventory.filing.writing import _chunks

UIDS = ['a"b', "a\\b", "a\nb", "a\tb\x01", "ä🗝"]


def test_each_id_is_asked_for_as_it_is() -> None:
    environment = Environment.of_kind(load_catalogue("secmesh.security.v1").kinds["cloud_assets"])
    [listed] = _chunks(UIDS)
    condition = environment.compile(f"resource_uid in [{listed}]")
    assert all(condition.matches(CloudAsset(resource_uid=uid)) is True for uid in UIDS)
    assert condition.matches(CloudAsset(resource_uid="other")) is False


def test_long_lists_are_asked_for_in_parts() -> None:
    parts = list(_chunks(["x" * 1000] * 7))
    assert [part.count("x" * 1000) for part in parts] == [2, 2, 2, 1]
