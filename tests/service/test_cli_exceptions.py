"""`secmesh compliance exceptions` against the real service, and what `evaluate` tells of them."""

from datetime import timedelta
from typing import Any

from secmesh.inventory.v1.s3_pb2 import S3Bucket
from tests.service.compliance_world import NOW, SSP, document, requirement
from tests.service.crypto_command import Command
from tests.service.exceptions_site import Site, site

__all__ = ["site"]

EXCEPTIONS = ("compliance", "exceptions")
PROPOSAL: tuple[str, ...] = (
    *EXCEPTIONS,
    "propose",
    "public-site",
    "--check",
    "s3.encryption",
    "--reason",
    "It is public.",
)


def command(site: Site) -> Command:
    return Command(site.server.address, site.server.keys, "acme")


def day(site: Site, days: int) -> str:
    return (site.clock.now + timedelta(days=days)).date().isoformat()


async def test_an_exception_lives_on_the_command_line(site: Site) -> None:
    run = command(site)
    made: Any = await run.json(
        *PROPOSAL, "--expires", day(site, 9), "--account", "111122223333", "--reference", "RISK-7"
    )
    assert (made["state"], made["requester"]) == ("STATE_PROPOSED", "ann")
    assert made["cloudAccountIds"] == ["111122223333"]
    own = await run.run(*EXCEPTIONS, "approve", "public-site")
    assert own.exit_code == 1
    assert "another person" in " ".join(own.stderr.replace("│", " ").split())
    await site.approve(made["name"])
    shown = await run.json(*EXCEPTIONS, "get", "public-site")
    assert (shown["state"], shown["approver"]) == ("STATE_APPROVED", "bob")
    table = await run.run(*EXCEPTIONS, "ls", "--filter", 'check_id == "s3.encryption"')
    assert "approved" in table.stdout.replace("\n", "")
    revoked = await run.json(*EXCEPTIONS, "revoke", "public-site", "--etag", shown["etag"])
    assert revoked["state"] == "STATE_REVOKED"


async def test_evaluate_is_loud_about_the_end(site: Site) -> None:
    run = command(site)
    await site.world.sync(["s3_buckets"])
    await site.world.add("s3_buckets", S3Bucket(encryption="NONE", https_only=True))
    await site.world.plan(document(requirement("sc-28.1")))
    await site.accept(expire_time=NOW + timedelta(days=5))
    evaluate = ("compliance", "evaluate", "--ssp", SSP)
    soon = await run.run(*evaluate)
    assert "1 claims have failures that are excepted" in soon.stderr
    assert "ends soon: 2030-01-06" in " ".join(soon.stderr.split())
    site.clock.now = NOW + timedelta(days=5)
    over = await run.run("-o", "json", *evaluate)
    assert over.exit_code == 0
    assert "is over: 2030-01-06" in " ".join(over.stderr.split())
    assert "is over" not in over.stdout
