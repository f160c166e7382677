"""The command ``upkeep``: what ``serve`` does by itself, once, for those who prefer a timer."""

import argparse
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from mesh.server.program import Command, CommandFailed
from services.tenancy.assembly import open_others, open_parts
from services.tenancy.clock import MICROSECONDS
from services.tenancy.settings import TenancySettings
from services.tenancy.upkeep.claims import FAILED, Standing
from services.tenancy.upkeep.jobs import upkeep_of

_NEVER = "never"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--status", action="store_true", help="say how each job stands, and do nothing"
    )


async def _run(settings: TenancySettings, arguments: argparse.Namespace) -> None:
    parts = open_parts(settings, open_others(settings))
    try:
        upkeep = upkeep_of(parts)
        standings = await (upkeep.look() if arguments.status else upkeep.once())
    finally:
        await parts.close()
    sys.stdout.write("".join(map(_line, standings.values())))
    if not arguments.status:
        _require_done(standings.values())


def _require_done(standings: Iterable[Standing]) -> None:
    failed = [each.job for each in standings if each.outcome == FAILED]
    if failed:
        raise CommandFailed(f"failed: {', '.join(failed)}; what is due is done the next time")


def _line(standing: Standing) -> str:
    told = [
        standing.job,
        standing.outcome or _NEVER,
        f"begun {_moment(standing.begun_at)}",
        f"ended {_moment(standing.ended_at)}",
        f"{standing.done} done",
        f"{standing.failed} failed",
        f"next {_moment(standing.next_at)}",
        f"by {standing.owner or 'nobody'}",
        standing.reason,
    ]
    return "  ".join(filter(None, told)) + "\n"


def _moment(moment: int) -> str:
    if not moment:
        return _NEVER
    return datetime.fromtimestamp(moment // MICROSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


UPKEEP = Command(
    "upkeep",
    "do once what serve does by itself: verify, rotate, go on with off-boardings",
    _add_arguments,
    _run,
)
