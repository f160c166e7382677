"""What a service needs and what is secret, derived from its settings: set, or told of."""

import re
from pathlib import Path

import pytest

from services.crypto.custody.sealer_settings import PREFIX as SEALER_PREFIX
from services.crypto.custody.sealer_settings import SealerSettings
from services.crypto.settings import CryptoSettings
from tests.unit.test_deployment import DOCUMENT, OURS, ROOT, SERVICES, SETTINGS

RECOVERY = (ROOT / "docs/DISASTER_RECOVERY.md").read_text()
SECRET = re.compile(r"(^|_)(keys?|secret|token|password)(_file)?$")
"""How settings are called that hold a secret, or name a file with one."""
UNUSED = {f"{CryptoSettings.prefix()}SEALING_KEYS"}
"""Of all services with a database, this one keeps no record that is sealed so."""
SEALER = "sealer"


def needed_or_secret() -> dict[str, set[str]]:
    """Find the variables of each service without which it does not start, or which are secret."""
    found = {
        name: {
            settings._variable(field)
            for field, each in settings.model_fields.items()
            if each.annotation is not int
            and (each.is_required() or not each.repr or SECRET.search(field))
        }
        - UNUSED
        for name, settings in SETTINGS.items()
    }
    found[SEALER] = {
        f"{SEALER_PREFIX}{field.upper()}"
        for field, each in SealerSettings.model_fields.items()
        # It listens on a socket, so it needs no TLS.
        if each.is_required() or (SECRET.search(field) and not field.startswith("tls_"))
    }
    return found


@pytest.mark.parametrize("name", sorted({*SETTINGS, SEALER}))
def test_what_a_service_needs_and_what_is_secret_is_set_or_told_of(name: str) -> None:
    wanted = needed_or_secret()[name]
    assert wanted
    missing = wanted - set(SERVICES[name]["environment"])
    assert {each for each in missing if f"`{each}`" not in DOCUMENT} == set()


def test_every_file_of_keys_is_among_what_must_be_kept() -> None:
    keys = {
        each for found in needed_or_secret().values() for each in found if each.endswith("_KEYS")
    }
    assert {"SECMESH_INVENTORY_SEALING_KEYS", "SECMESH_SECURITY_SEALING_KEYS"} <= keys
    assert {each for each in keys if each not in RECOVERY} == set()


@pytest.mark.parametrize("name", OURS)
def test_files_of_the_users_are_told_of(name: str) -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    mounted = {
        each["target"]: each["source"].rpartition("}/")[2]
        for each in SERVICES[name].get("volumes", ())
        if isinstance(each, dict) and "SECMESH_SECRETS" in each["source"]
    }
    for value in SERVICES[name].get("environment", {}).values():
        path = Path(re.sub(r"^\$\{\w+:\+(.*)\}$", r"\1", value))
        for target, source in mounted.items():
            if path == Path(target) and path.suffix:
                assert any(f"`{source}`" in row for row in rows), source
            elif path.is_relative_to(target) and path != Path(target):
                file = str(path.relative_to(target))
                assert any(f"`{source}/" in row and file in row for row in rows), (source, file)
