"""`secmesh up` as a user meets it: the story, READY, a clean end, and a second run."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from mesh.embedded.postgres import PostgresServer
from tests.mesh.up_process import STOP_SECONDS, Up, gone, refused, running, user_folder
from tests.mesh.up_story import (
    a_new_tenant_is_served_like_the_first,
    claims_are_filed,
    people_are_kept,
    the_account_was_scanned,
    the_printed_commands_of_tenancy_work,
    the_printed_upload_works,
)

SECURITY = "TEAM_TYPE_SECURITY"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with user_folder() as folder:
        yield folder


def an_earlier_release_made(data: Path) -> None:
    """Have the records as a release left them that had a kind less."""
    server = PostgresServer(data)
    with server, psycopg.connect(server.url("security"), autocommit=True) as connection:
        connection.execute("DROP TABLE ddos_protection")


def a_kill_leaves_no_child(up: Up) -> None:
    """Whatever it started ends with it, even when it can no longer see to that."""
    children = up.children()
    assert any("bin/postgres" in command for command in children)
    up.process.kill()
    up.process.wait()
    deadline = time.monotonic() + STOP_SECONDS
    while not all(gone(pid) for pid in children.values()):
        assert time.monotonic() < deadline, "the reaper left a child"
        time.sleep(0.1)


@pytest.mark.timeout(900)
def test_the_story_the_three_surfaces_a_second_run_and_a_kill(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as up:
        assert "contradicted" in up.said
        # As root, PostgreSQL's own user passes through the home, and reads nothing there.
        passed = 0o011 if os.geteuid() == 0 else 0
        assert home.stat().st_mode & 0o077 == passed
        for path in home.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"

        the_account_was_scanned(up)
        claims_are_filed(up)
        the_printed_commands_of_tenancy_work(up)
        the_printed_upload_works(up)
        people_are_kept(up)
        a_new_tenant_is_served_like_the_first(up)

        team = up.get("/security/v1/tenants/acme/teams/cloud")
        assert team.json()["team"]["name"] == "Cloud security"
        assert "tenants/acme/teams/cloud 'Cloud security'" in up.said

        # One record is new; the other's name is taken by the story's team.
        teams = home.parent / "teams.ndjson"
        lines = [
            {"name": f"tenants/acme/teams/{each}", "team": {"name": name, "teamType": SECURITY}}
            for each, name in (("network", "Network"), ("twin", "Cloud security"))
        ]
        teams.write_text("\n".join(map(json.dumps, lines)))
        sent = up.call("security", "ingest", str(teams))
        assert sent.returncode == 1, sent.stderr
        assert sent.stdout.startswith("line 2: "), sent.stdout
        listing = up.call("-o", "json", "security", "ls", "teams", "--order-by", "name")
        teams_kept = [record["team"]["name"] for record in json.loads(listing.stdout)]
        assert teams_kept == ["Cloud security", "Network"]

        # Over REST a stream is an array of its messages.
        items = [
            {"sequence": "1", "record": {"team": {"name": "Phones", "teamType": SECURITY}}},
            {"sequence": "2", "record": {"team": {"name": "Of no type"}}},
        ]
        ingest = "/security/v1/tenants/acme:ingest"
        streamed = up.call_rest("POST", ingest, [{"items": items}])
        told, end = map(json.loads, streamed.text.splitlines())
        assert [each["outcome"] for each in told["results"]] == ["OUTCOME_NEW", "OUTCOME_REJECTED"]
        assert end == {"streamId": told["streamId"], "ended": {}}

        rest = up.get("/inventory/v1/tenants/acme/s3_buckets")
        assert rest.status_code == 200
        assert rest.json()["records"]

        listed = up.call("-o", "json", "inventory", "ls", "s3_buckets")
        assert listed.returncode == 0, listed.stderr
        names = {record["name"] for record in json.loads(listed.stdout)}
        assert names == {record["name"] for record in rest.json()["records"]}

        checked = up.call("compliance", "evaluate", "--ssp", "sample", "--fail-on", "contradicted")
        assert checked.returncode == 4, checked.stderr
        judged = up.call("security", "gate", "storefront")
        assert judged.returncode == 4, judged.stderr
        assert "2 of 2 conditions are not met" in judged.stderr

        children = up.children()
    assert up.process.returncode == 0
    assert len(children) >= 10
    assert all(gone(pid) for pid in children.values()), "Ctrl-C stops every child"
    assert not (home / "ready.json").exists()

    an_earlier_release_made(home / "postgres")
    with running(home, SECMESH_STORY="0") as again:
        assert again.get("/security/v1/tenants/acme/ddos_protection").json() == {}
        admin = again.ready["admin"]["inventory"]
        assert httpx.get(f"http://{admin['admin']}/readyz", trust_env=False).status_code == 200
        assert "contradicted" not in again.said
        kept = again.get("/inventory/v1/tenants/acme/s3_buckets")
        assert kept.status_code == 200, kept.text
        assert {record["name"] for record in kept.json()["records"]} == names
        assert again.get("/security/v1/tenants/acme/teams/cloud").json() == team.json()
        filed = again.call("-o", "json", "compliance", "file", "--dry-run")
        assert filed.returncode == 0, filed.stderr
        counts = {each.pop("collection"): each for each in json.loads(filed.stdout)["counts"]}
        assert {*counts["misconfigurations"], *counts["compliance_assessments"]} == {"unchanged"}
        assert "another `secmesh up` uses" in refused(home)
        a_kill_leaves_no_child(again)
