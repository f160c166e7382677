"""IAM of AWS decides who may connect: each connection is opened with a signed request."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from mesh.sql.engine import EngineUrlError, open_engine
from mesh.sql.iam_password import IamPasswords, signed
from tests.databases import server

URL = "postgresql://app@db.example:6543/store?sslmode=verify-full&iam_region=eu-central-1"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def test_the_password_is_a_request_signed_for_this_user_and_host() -> None:
    made = signed(sa.make_url(URL))
    assert "iam_region" not in made.query
    request = urlsplit(f"https://{made.password}")
    asked = {key: value[0] for key, value in parse_qs(request.query).items()}
    assert (request.netloc, asked["Action"], asked["DBUser"]) == (
        "db.example:6543",
        "connect",
        "app",
    )
    assert asked["X-Amz-Expires"] == "900"
    assert "/eu-central-1/rds-db/" in asked["X-Amz-Credential"]
    assert len(asked["X-Amz-Signature"]) == 64
    plain = sa.make_url("postgresql://app:word@db.example/store")
    assert signed(plain) == plain


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (("app@", "app:word@"), "takes no password"),
        (("app@", ""), "user and host"),
        (("db.example:6543", ""), "user and host"),
        (("verify-full", "prefer"), "encrypted"),
    ],
)
def test_a_url_that_says_otherwise_is_refused(changed: tuple[str, str], problem: str) -> None:
    with pytest.raises(EngineUrlError, match=problem):
        open_engine(URL.replace(*changed))


async def test_connections_are_opened_with_a_password_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    used: list[str] = []
    real = IamPasswords.__init__

    def with_clock(self: IamPasswords, url: sa.URL) -> None:
        real(self, url, lambda: now)

    monkeypatch.setattr(IamPasswords, "__init__", with_clock)
    role = "signs_in_by_iam"
    near = sa.make_url(server(18).url())
    with psycopg.connect(server(18).url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        engine = open_engine(URL.replace("app@", f"{role}@").replace("store", "postgres"))

        @sa.event.listens_for(engine.sync_engine, "do_connect")
        def know(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
            # In place of RDS, which asks IAM, a server of this machine, which knows no certificate.
            used.append(parameters["password"])
            word = sql.SQL("ALTER ROLE {} PASSWORD {}")
            admin.execute(word.format(sql.Identifier(role), parameters["password"]))
            parameters.update(sslmode="disable", host=near.query["host"], port=near.port)

        try:
            async with engine.connect() as one, engine.connect() as two:
                for each in (one, two):
                    assert (await each.execute(sa.text("SELECT current_user"))).scalar() == role
            now = 601.0
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
            await engine.dispose()
            async with engine.connect() as three:
                assert (await three.execute(sa.text("SELECT 1"))).scalar() == 1
        finally:
            await engine.dispose()
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert used[0] == used[1] != used[2]
    assert "AKIDOTHER" in used[2]
