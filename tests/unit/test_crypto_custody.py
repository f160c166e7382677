"""Every KMS answers alike, and files of keys are their owner's alone."""

from pathlib import Path

import pytest

from mesh.errors import DependencyUnavailable
from services.crypto.custody.file_kms import FileKms
from services.crypto.custody.key_file import (
    KeyFile,
    KeyFileError,
    create_key_file,
    process_owner,
    write_key_file,
)
from services.crypto.custody.kms import Kms, KmsDisabled, KmsKeyState, KmsRejected, KmsUnavailable
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.errors import KeyDisabled
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import FieldRule, InnerValue, inner_of_plaintext
from services.crypto.suite.header import Tier
from tests.unit.fake_kms import FakeKms

HERE = {"tenant": "acme", "use": "tenant-key"}
SSN = FieldRule("ssn", 8, Tier.DOUBLE, Tier.DOUBLE, 48)
USER = "0190f3f0-1111-7222-8333-444455556666"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "master"
    assert create_key_file(path, ["one", "two", "v1"])
    return path


@pytest.fixture(params=["fake", "file"])
def kms(request: pytest.FixtureRequest, path: Path) -> Kms:
    return FileKms(path) if request.param == "file" else FakeKms("one", "two")


async def test_a_key_is_unwrapped_in_its_context_by_its_key_alone(kms: Kms) -> None:
    made = await kms.generate("one", HERE)
    assert len(made.plaintext) == 32
    assert made.plaintext not in made.wrapped
    assert made.plaintext.hex() not in repr(made)
    assert await kms.decrypt(made.key_id, made.wrapped, HERE) == made.plaintext
    for key_id, context in (("one", {**HERE, "tenant": "b"}), ("one", {}), ("two", HERE)):
        with pytest.raises(KmsRejected):
            await kms.decrypt(key_id, made.wrapped, context)
    with pytest.raises(KmsRejected):
        await kms.decrypt("one", made.wrapped[:-1], HERE)


async def test_a_wrapped_key_moves_to_another_key(kms: Kms) -> None:
    wrapped = await kms.encrypt("one", b"secret", HERE)
    moved = await kms.re_encrypt("one", wrapped, HERE, "two")
    assert await kms.decrypt("two", moved, HERE) == b"secret"
    with pytest.raises(KmsRejected):
        await kms.decrypt("one", moved, HERE)


async def test_no_key_serves_under_a_name_that_is_none(kms: Kms) -> None:
    for call in (kms.generate("none", HERE), kms.describe("none")):
        with pytest.raises(KmsDisabled):
            await call
    assert (await kms.describe("one")).state is KmsKeyState.ENABLED
    await kms.close()


async def test_a_key_is_disabled_by_its_file_and_comes_back(path: Path) -> None:
    kms, file = FileKms(path), KeyFile(path)
    wrapped = await kms.encrypt("one", b"secret", HERE)
    keys = dict(file.keys())
    write_key_file(path, keys | {"one": keys["one"]._replace(enabled=False)})
    with pytest.raises(KmsDisabled):
        await kms.decrypt("one", wrapped, HERE)
    assert (await kms.describe("one")).state is KmsKeyState.DISABLED
    write_key_file(path, keys)
    assert await kms.decrypt("one", wrapped, HERE) == b"secret"
    assert (await kms.describe("one")).principal == process_owner()


async def test_a_file_that_is_gone_is_an_outage(path: Path) -> None:
    kms = FileKms(path)
    path.unlink()  # noqa: ASYNC240 - a test's own file
    for call in (kms.generate("one", HERE), kms.describe("one")):
        with pytest.raises(KmsUnavailable):
            await call
    with pytest.raises(DependencyUnavailable):
        await LocalAppKeys(KeyFile(path)).principal()


def test_a_file_of_keys_is_made_once_for_its_owner_alone(path: Path) -> None:
    content = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not create_key_file(path, ["other"])
    assert path.read_bytes() == content
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="0600"):
        KeyFile(path).keys()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "one enabled",
        "one maybe {key}",
        "ONE enabled {key}",
        "one enabled {short}",
        "one enabled !!!",
        "one enabled {key}\none disabled {key}",
    ],
)
def test_a_bad_line_is_refused_by_number_and_not_shown(path: Path, content: str) -> None:
    key, short = "A" * 43 + "=", "AAAA"
    path.write_text(content.format(key=key, short=short))
    with pytest.raises(KeyFileError) as caught:
        KeyFile(path).keys()
    assert key not in str(caught.value)
    assert not content or "line" in str(caught.value)


def inner(tenant: str = "acme", version: int = 1, plaintext: bytes = b"123") -> InnerValue:
    return inner_of_plaintext(version, Subject("test", tenant, USER, "users"), SSN, plaintext)


async def test_the_app_key_opens_what_it_sealed_for_the_tenant(path: Path) -> None:
    custodian = LocalAppKeys(KeyFile(path))
    values = [inner(plaintext=bytes([at])) for at in range(150)]
    sealed = await custodian.seal("acme", values)
    layers = [value._replace(body=body) for value, body in zip(values, sealed, strict=True)]
    assert await custodian.open("acme", layers) == [value.body for value in values]
    assert await custodian.open("other", layers[:2]) == [None, None]
    other = layers[0]._replace(subject=inner("other").subject)
    assert await custodian.open("acme", [other, layers[1]]) == [None, values[1].body]
    await custodian.close()


async def test_the_app_key_seals_for_no_other_tenant_and_by_no_missing_version(
    path: Path,
) -> None:
    custodian = LocalAppKeys(KeyFile(path))
    for value in (inner("other"), inner(version=2)):
        with pytest.raises(KeyDisabled):
            await custodian.seal("acme", [value])
    sealed = await custodian.seal("acme", [inner()])
    keys = dict(KeyFile(path).keys())
    write_key_file(path, keys | {"v1": keys["v1"]._replace(enabled=False)})
    with pytest.raises(KeyDisabled):
        await custodian.seal("acme", [inner()])
    assert await custodian.open("acme", [inner()._replace(body=sealed[0])]) == [None]
