"""The sealer process: a second party behind a UNIX socket, limited, and alone with its key."""

import argparse
import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mesh.errors import DependencyUnavailable
from mesh.identifiers import new_uuid
from mesh.server.deployable import CommandFailed
from mesh.tls import client_credentials
from secmesh.crypto.sealer.v1 import sealer_service_pb2 as pb
from secmesh.crypto.sealer.v1.sealer_service_pb2_grpc import SealerServiceStub
from services.crypto import sealer_command
from services.crypto.custody.key_file import (
    KeyFile,
    KeyFileError,
    create_key_file,
    process_owner,
    write_key_file,
)
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.custody.remote_app_keys import RemoteAppKeys
from services.crypto.custody.sealer_limit import ValuesLimit
from services.crypto.custody.sealer_server import SealerInUse, SealerServer
from services.crypto.custody.sealer_settings import SealerSettings
from services.crypto.errors import KeyDisabled
from services.crypto.settings import CryptoSettings
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import FieldRule, InnerValue, inner_of_plaintext
from services.crypto.suite.header import Tier
from tests.certificates import Authority

SSN = FieldRule("ssn", 8, Tier.DOUBLE, Tier.DOUBLE, 48)


@pytest.fixture
def settings(tmp_path: Path) -> SealerSettings:
    create_key_file(tmp_path / "app.keys", ["v1"])
    return SealerSettings(
        socket=tmp_path / "sealer.sock",
        app_keys=tmp_path / "app.keys",
        environment="test",
        values_per_second=1_000_000,
        grace_seconds=0,
    )


@asynccontextmanager
async def sealer(settings: SealerSettings) -> AsyncIterator[RemoteAppKeys]:
    server = SealerServer(settings)
    await server.start()
    custodian = RemoteAppKeys(settings.socket, "test")
    yield custodian
    await custodian.close()
    await server.stop()


@pytest.fixture
async def remote(settings: SealerSettings) -> AsyncIterator[RemoteAppKeys]:
    async with sealer(settings) as custodian:
        yield custodian


def values(*plaintexts: bytes, tenant: str = "acme", version: int = 1) -> list[InnerValue]:
    return [
        inner_of_plaintext(version, Subject("test", tenant, new_uuid(), "users"), SSN, each)
        for each in plaintexts
    ]


def layers(asked: Sequence[InnerValue], sealed: Sequence[bytes]) -> list[InnerValue]:
    return [value._replace(body=body) for value, body in zip(asked, sealed, strict=True)]


async def test_it_seals_and_opens_as_the_key_in_this_process_does(
    remote: RemoteAppKeys, settings: SealerSettings
) -> None:
    asked = values(*(bytes([at % 256]) for at in range(700)))
    local = LocalAppKeys(KeyFile(settings.app_keys))
    sealed = await remote.seal("acme", asked)
    expected = [each.body for each in asked]
    assert await local.open("acme", layers(asked, sealed)) == expected
    other = await local.seal("acme", asked)
    assert await remote.open("acme", layers(asked, other)) == expected
    assert await remote.principal() == process_owner()


async def test_what_does_not_open_fails_alone(remote: RemoteAppKeys) -> None:
    asked = values(b"1", b"2")
    one, two = layers(asked, await remote.seal("acme", asked))
    assert await remote.open("acme", [one._replace(body=one.body[:-1]), two]) == [
        None,
        asked[1].body,
    ]
    assert await remote.open("other", [one]) == [None]
    moved = one._replace(field="card")
    assert await remote.open("acme", [moved, one._replace(body=b"")]) == [None, None]


async def test_it_seals_by_another_version_and_shows_nothing(
    remote: RemoteAppKeys, settings: SealerSettings
) -> None:
    asked = values(*(b"value %d" % at for at in range(600)))
    sealed = layers(asked, await remote.seal("acme", asked))
    with pytest.raises(KeyDisabled, match="app"):
        await remote.seal_again("acme", sealed, 2)
    keys = dict(KeyFile(settings.app_keys).keys())
    write_key_file(settings.app_keys, {**keys, "v2": keys["v1"]._replace(secret=b"2" * 32)})
    sealed[3] = sealed[3]._replace(body=b"changed")
    again = await remote.seal_again("acme", sealed, 2)
    assert again[3] is None
    assert not any(body and plain.body in body for body, plain in zip(again, asked, strict=True))
    new = [
        each._replace(header=each.header._replace(app_key_version=2), body=body or b"")
        for each, body in zip(sealed, again, strict=True)
    ]
    expected = [None if at == 3 else each.body for at, each in enumerate(asked)]
    assert await remote.open("acme", new) == expected


async def test_a_version_that_is_missing_or_disabled_seals_nothing(
    remote: RemoteAppKeys, settings: SealerSettings
) -> None:
    with pytest.raises(KeyDisabled, match="app"):
        await remote.seal("acme", values(b"1", version=2))
    sealed = layers(asked := values(b"1"), await remote.seal("acme", asked))
    keys = dict(KeyFile(settings.app_keys).keys())
    write_key_file(settings.app_keys, {"v1": keys["v1"]._replace(enabled=False)})
    with pytest.raises(KeyDisabled, match="app"):
        await remote.seal("acme", values(b"1"))
    assert await remote.open("acme", sealed) == [None]
    settings.app_keys.unlink()
    with pytest.raises(DependencyUnavailable, match="sealer"):
        await remote.open("acme", sealed)
    with pytest.raises(DependencyUnavailable, match="sealer"):
        await remote.principal()


async def test_more_than_the_limit_is_refused_for_a_while(settings: SealerSettings) -> None:
    slow = settings.model_copy(update={"values_per_second": 2})
    async with sealer(slow) as remote:
        await remote.seal("acme", values(*[b"x"] * 500))
        with pytest.raises(DependencyUnavailable) as caught:
            await remote.seal("acme", values(b"x"))
    assert any(type(each).__name__ == "RetryInfo" for each in caught.value.details)


async def test_requests_of_another_environment_or_form_are_refused(
    remote: RemoteAppKeys, settings: SealerSettings
) -> None:
    stranger = RemoteAppKeys(settings.socket, "production")
    with pytest.raises(DependencyUnavailable):
        await stranger.seal("acme", values(b"1"))
    await stranger.close()
    good: dict[str, Any] = {
        "user_id": new_uuid(),
        "table": "users",
        "field": "ssn",
        "field_number": 8,
        "app_key_version": 1,
    }
    async with grpc.aio.insecure_channel(f"unix:{settings.socket}") as channel:
        for change in ({"user_id": "1"}, {"field": ""}, {"app_key_version": 0}):
            bad = pb.InnerValue(**(good | change))
            request = pb.SealInnerRequest(environment="test", tenant="acme", values=[bad])
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await SealerServiceStub(channel).SealInner(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_its_socket_is_for_its_owner_and_group_and_one_process(
    remote: RemoteAppKeys, settings: SealerSettings
) -> None:
    await remote.principal()
    assert stat.S_IMODE(settings.socket.stat().st_mode) == 0o660
    with pytest.raises(SealerInUse, match="another process"):
        await SealerServer(settings).start()
    await remote.principal()


async def test_it_does_not_start_without_good_keys(settings: SealerSettings) -> None:
    settings.app_keys.chmod(0o644)
    with pytest.raises(KeyFileError, match="0600"):
        await SealerServer(settings).start()


async def test_a_sealer_that_is_away_is_found_again(settings: SealerSettings) -> None:
    custodian = RemoteAppKeys(settings.socket, "test")
    with pytest.raises(DependencyUnavailable):
        await custodian.principal()
    server = SealerServer(settings)
    await server.start()
    async with asyncio.timeout(60):
        while await answers(custodian) != process_owner():
            await asyncio.sleep(0.02)
    await custodian.close()
    await server.stop()


async def answers(custodian: RemoteAppKeys) -> str:
    """Give what a sealer says, and nothing if it is away."""
    try:
        return await custodian.principal()
    except DependencyUnavailable:
        return ""


async def test_with_tls_it_serves_who_shows_a_good_certificate(
    settings: SealerSettings, tmp_path: Path
) -> None:
    authority, stranger = Authority.make(tmp_path), Authority.make(tmp_path, "stranger")
    own, good, bad = (
        authority.issue("sealer"),
        authority.issue("service"),
        stranger.issue("thief"),
    )
    tls = {
        "tls_certificate": own.certificate,
        "tls_key": own.key,
        "tls_client_ca": authority.file,
    }
    server = SealerServer(settings.model_copy(update=tls))
    await server.start()
    asked = values(b"1")
    for shown, trusted in ((good, authority), (bad, authority), (good, stranger), (None, None)):
        credentials = client_credentials(trusted.file, shown) if trusted else None
        custodian = RemoteAppKeys(settings.socket, "test", credentials, "127.0.0.1")
        if (shown, trusted) == (good, authority):
            assert len(await custodian.seal("acme", asked)) == 1
        else:
            with pytest.raises(DependencyUnavailable):
                await custodian.seal("acme", asked)
        await custodian.close()
    await server.stop()


@pytest.mark.parametrize("given", [["tls_key"], ["tls_certificate", "tls_key"], ["tls_client_ca"]])
def test_half_of_tls_is_refused(settings: SealerSettings, given: list[str]) -> None:
    kept: dict[str, Any] = {"socket": settings.socket, "app_keys": settings.app_keys}
    kept |= dict.fromkeys(given, Path("some.pem"))
    with pytest.raises(ValidationError, match="all three"):
        SealerSettings(**kept)


def test_its_process_serves_logs_no_value_and_ends(settings: SealerSettings) -> None:
    environment = {
        **os.environ,
        "SECMESH_SEALER_SOCKET": str(settings.socket),
        "SECMESH_SEALER_APP_KEYS": str(settings.app_keys),
        "SECMESH_SEALER_ENVIRONMENT": "test",
    }
    command = [sys.executable, "-m", "services.crypto", "sealer"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert json.loads(line.removeprefix("LISTENING "))["socket"] == str(settings.socket)
    with grpc.insecure_channel(f"unix:{settings.socket}") as channel:
        (value,) = values(b"the-plaintext")
        wire = pb.InnerValue(
            user_id=value.subject.user_id,
            table="users",
            field="ssn",
            field_number=8,
            app_key_version=1,
            body=value.body,
        )
        request = pb.SealInnerRequest(environment="test", tenant="acme", values=[wire])
        assert SealerServiceStub(channel).SealInner(request, timeout=20).bodies
    limits = Path(f"/proc/{process.pid}/limits")
    if limits.exists():
        line = next(each for each in limits.read_text().splitlines() if "core" in each)
        assert line.split()[4:6] == ["0", "0"]
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "sealer used" in log
    assert "the-plaintext" not in log


async def test_a_setting_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer_command, "forbid_memory_dumps", lambda: None)
    monkeypatch.delenv("SECMESH_SEALER_SOCKET", raising=False)
    monkeypatch.setenv("SECMESH_SEALER_APP_KEYS", "somewhere")
    with pytest.raises(CommandFailed, match=r"SECMESH_SEALER_.*socket"):
        await sealer_command.SEALER.run(CryptoSettings(), argparse.Namespace())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 2)), max_size=30))
def test_no_more_is_let_through_than_the_limit(batches: list[tuple[int, float]]) -> None:
    clock = Clock()
    limit = ValuesLimit(100, clock)
    passed = 0
    for size, pause in batches:
        clock.now += pause
        if not limit.admit(size):
            passed += size
    # One bucket at first, the rate since then, and one batch that left a debt.
    assert passed <= 100 + 100 * clock.now + 300


def test_who_waits_as_long_as_was_said_passes() -> None:
    clock = Clock()
    limit = ValuesLimit(100, clock)
    assert limit.admit(100) == 0
    seconds = limit.admit(40)
    assert seconds == pytest.approx(0.4)
    clock.now += seconds + 0.001
    assert limit.admit(40) == 0
