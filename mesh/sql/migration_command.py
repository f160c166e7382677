"""The ``migrate`` command of a service."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.tables import Tables

if TYPE_CHECKING:
    from mesh.sql.migration import Change, Plan


def add_migrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``migrate``."""
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--plan", action="store_true", help="show each change and its SQL; change nothing"
    )
    way.add_argument(
        "--apply", action="store_true", help="change the database, which is also the default"
    )
    parser.add_argument(
        "--allow-destructive",
        action="store_true",
        help="also do what loses data: drop what the contract does not know, narrow types",
    )
    parser.add_argument("--output", choices=["text", "json"], default="text", help="form of stdout")


async def run_migrate(
    engine: AsyncEngine,
    tables: Tables,
    arguments: argparse.Namespace,
    application: str | None = None,
) -> str:
    """Plan or migrate and give what is to be printed. Raises MigrationRefused.

    ``application`` is the role that uses isolated tables; the engine is their owner's.
    """
    # ``serve`` offers the command's options too, and does without Alembic.
    from mesh.sql.migration import migrate, plan_migration

    if arguments.plan:
        plan = await plan_migration(engine, tables, application=application)
    else:
        plan = await migrate(
            engine,
            tables,
            allow_destructive=arguments.allow_destructive,
            application=application,
        )
    if arguments.output == "json":
        return orjson.dumps(_document(plan), option=orjson.OPT_INDENT_2).decode() + "\n"
    lines = [*_lines(plan.changes), *(_planned(plan) if arguments.plan else _done(plan))]
    return "\n".join(lines) + "\n"


def _lines(changes: "Iterable[Change]") -> Iterable[str]:
    for change in changes:
        for step in change.steps:
            yield f"{step.effect.value}: {step}"
        for statement in change.statements:
            yield from (f"    {line}" for line in f"{statement};".splitlines() if line.strip())


def _planned(plan: "Plan") -> Iterable[str]:
    steps = plan.steps
    if not steps:
        yield "nothing to do: the database is what the contract says"
        return
    from mesh.sql.migration_steps import Effect

    counts = {effect: sum(step.effect is effect for step in steps) for effect in Effect}
    yield ", ".join(f"{count} {effect.value}" for effect, count in counts.items())
    if refusal := plan.refusal(allow_destructive=False):
        yield f"--apply would end with: {refusal}"
    elif plan.kept:
        yield f"--apply keeps {len(plan.kept)} of them without --allow-destructive"


def _done(plan: "Plan") -> Iterable[str]:
    yield f"{len(plan.steps)} changes made"
    for step in plan.left:
        yield f"kept: {step}; --allow-destructive would {step.words}"


def _document(plan: "Plan") -> dict[str, Any]:
    return {
        "database": plan.database,
        "changes": [
            {
                "steps": [
                    {
                        "table": step.table,
                        "change": step.words,
                        "effect": step.effect.value,
                        "reason": step.reason,
                        "kept_by_default": step.stays,
                    }
                    for step in change.steps
                ],
                "sql": list(change.statements),
            }
            for change in plan.changes
        ],
        "kept": [str(step) for step in plan.left],
        "refusal": plan.refusal(allow_destructive=False),
        "superseded": plan.superseded,
    }
