"""The digest of a contract: the same for the same kinds, another for any other."""

from dataclasses import replace
from types import MappingProxyType

from mesh.contract.catalogue import load_catalogue
from mesh.contract.digest import contract_digest
from tests.unit.sql_contract import sample_catalogue

CATALOGUE = load_catalogue("secmesh.inventory.v1")


def test_methods_do_not_count_and_kinds_do() -> None:
    whole = contract_digest(CATALOGUE)
    assert contract_digest(replace(CATALOGUE, methods=MappingProxyType({}))) == whole
    fewer = {name: kind for name, kind in CATALOGUE.kinds.items() if name != "ssps"}
    assert contract_digest(replace(CATALOGUE, kinds=MappingProxyType(fewer))) != whole
    assert contract_digest(sample_catalogue()) != whole
    assert len(whole) == 64
